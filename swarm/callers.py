"""Which code is Swarm's own or a library's, and which line is the user's."""

from __future__ import annotations

import site
import sys
import sysconfig
from functools import cache
from pathlib import Path

OURS = ("swarm", "swarm_keras", "swarm_lightning")
_IMPORTING = "importlib._bootstrap"


def is_ours(module: str) -> bool:
    """Whether the module of this dotted name is one of Swarm's."""
    return module.partition(".")[0] in OURS


def users_level() -> int:
    """The ``stacklevel`` of the user's code, for the caller's call of ``warnings.warn``.

    ``warnings`` does not count frames of the import system, which may lie between: those of ``importlib._bootstrap``.
    """
    level = 1
    frame = sys._getframe(1)  # noqa: SLF001 - as `warnings` itself does; 3.11 has no `skip_file_prefixes`
    while frame.f_back and _skipped(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
        level += _IMPORTING not in frame.f_code.co_filename
    return level


def _skipped(module: str) -> bool:
    return is_ours(module) or module.partition(".")[0] in {"importlib", "abc"}


def is_library(file: str) -> bool:
    """Whether a source file is Python's own, was installed, or is Swarm's."""
    if file.startswith("<") or {"site-packages", "dist-packages"} & {*Path(file).parts}:
        return True
    return any(Path(file).is_relative_to(directory) for directory in _libraries())


def place(file: str, line: int | str) -> str:
    """``file:line`` for a message: a file below the working directory by its path from there, another by its name."""
    path = Path(file)
    if path.is_absolute():
        below = path.is_relative_to(Path.cwd())
        path = path.relative_to(Path.cwd()) if below else Path(path.name)
    return f"{path.as_posix()}:{line}"


def users_place() -> str:
    """The line of the user's code that is being executed, in brackets; empty if there is none."""
    frame = sys._getframe(1)  # noqa: SLF001 - as above
    while frame.f_back and is_library(frame.f_code.co_filename):
        frame = frame.f_back
    file = frame.f_code.co_filename
    return "" if is_library(file) else f" ({place(file, frame.f_lineno)})"


@cache
def _libraries() -> tuple[Path, ...]:
    here = Path(__file__).parent
    python = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib"))
    return (*(here.parent / name for name in OURS), *map(Path, python), *map(Path, site.getsitepackages()))

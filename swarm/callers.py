"""Which code is Swarm's own, and not the script's or a framework's."""

from __future__ import annotations

import sys

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

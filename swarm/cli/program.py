"""Finds the program that a peer runs, before it is started."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from swarm.errors import CommandNotFoundError

NOT_FOUND = 127
"""Exit code of a shell for a command that does not exist."""

_TAKES_A_VALUE = ("-W", "-X")


def search_path(environment: Mapping[str, str]) -> str:
    """The ``PATH`` for peers.

    If no environment is activated and Swarm is installed in one, that one comes first: ``python`` is then the
    interpreter that can import Swarm, also for ``.venv/bin/swarm up -- python train.py``.
    """
    path = environment.get("PATH", os.defpath)
    activated = "VIRTUAL_ENV" in environment or "CONDA_PREFIX" in environment
    if activated or sys.prefix == sys.base_prefix:
        return path
    return os.pathsep.join((str(Path(sys.executable).parent), path))


def locate(command: Sequence[str], path: str, model_dirs: Iterable[Path] = ()) -> list[str]:
    """The command, with its executable from ``path`` and its script from a model directory if necessary.

    A relative script that is not in the working directory is taken from the first of ``model_dirs`` that contains it,
    as in the container layout.

    Raises:
        CommandNotFoundError: there is no such executable.
    """
    directories = [directory.absolute() for directory in model_dirs]
    program, *arguments = command
    if os.sep in program:
        program = _in_directories(program, directories)
    executable = shutil.which(program, path=path)
    if executable is None:
        raise CommandNotFoundError(_why_not(program))
    script = _script_index(arguments)
    if script is not None:
        arguments[script] = _in_directories(arguments[script], directories)
    return [str(Path(executable).absolute()), *arguments]


def _script_index(arguments: Sequence[str]) -> int | None:
    """The position of the script: the first argument that is not an option, unless ``-m`` or ``-c`` replaces it."""
    before = ""
    for index, argument in enumerate(arguments):
        if argument in ("-m", "-c"):
            return None
        if not argument.startswith("-") and before not in _TAKES_A_VALUE:
            return index
        before = argument
    return None


def _in_directories(name: str, directories: Iterable[Path]) -> str:
    if Path(name).exists():
        return name
    found = (directory / name for directory in directories if (directory / name).is_file())
    return str(next(found, name))


def _why_not(program: str) -> str:
    if program.endswith(".py"):
        return f"{program} is not a command: start it with `python {program}`"
    if Path(program).is_file():
        return f"{program} cannot be executed: check its permissions, or name the interpreter in front of it"
    return f"there is no command {program!r}: check its name and your PATH"

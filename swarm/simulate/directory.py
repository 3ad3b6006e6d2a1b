"""The directory of a simulation: one command at a time has it, and begins without what earlier ones have left."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from swarm.errors import ConfigurationError
from swarm.storage.locks import FileLock

RESULTS = "results.json"
PICTURE = "choices.png"
_LOCK = "simulate.lock"
_CHOICE = re.compile(r"choice-\d+")
_RUN = re.compile(r"run-\d+")


def of_run(directory: Path, choice: int, repeat: int) -> Path:
    """For the files of the peers of one run."""
    return directory.absolute() / f"choice-{choice}" / f"run-{repeat}"


@contextlib.contextmanager
def taken(directory: Path) -> Iterator[None]:
    """Make the directory, and remove the runs, results and picture of earlier commands from it.

    Raises:
        ConfigurationError: it cannot be written, or another command is using it.
    """
    lock = FileLock(directory / _LOCK)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        free = lock.take()
    except OSError as error:
        reason = error.strerror or error
        raise ConfigurationError(
            f"--directory {directory} cannot be written ({reason}): name one that can be"
        ) from error
    if not free:
        raise ConfigurationError(f"--directory {directory} is in use by another swarm simulate: name another one")
    try:
        _clear(directory)
        yield
    finally:
        lock.release()


def _clear(directory: Path) -> None:
    for name in (RESULTS, PICTURE):
        (directory / name).unlink(missing_ok=True)
    for choice in _named(directory, _CHOICE):
        for run in _named(choice, _RUN):
            shutil.rmtree(run)
        with contextlib.suppress(OSError):  # it holds something else as well
            choice.rmdir()


def _named(directory: Path, pattern: re.Pattern[str]) -> list[Path]:
    return [path for path in directory.iterdir() if pattern.fullmatch(path.name) and path.is_dir()]

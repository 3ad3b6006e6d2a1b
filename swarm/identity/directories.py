"""Directories of keys appear completely or not at all, and none is overwritten."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from swarm.errors import IdentityError
from swarm.identity import files


def refuse_existing(directory: Path, what: str) -> None:
    """Refuse to overwrite a directory.

    Raises:
        IdentityError: it is there.
    """
    if os.path.lexists(directory):
        raise IdentityError(f"{directory} is there already: {what} is never overwritten; move it away, or name another")


@contextlib.contextmanager
def partial_directory(directory: Path) -> Iterator[Path]:
    """A directory beside ``directory`` that only its owner can enter, and that is removed when the block ends.

    Raises:
        IdentityError: it cannot be made.
    """
    partial = directory.with_name(f".{directory.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    files.make_directory(partial.parent)
    try:
        partial.mkdir(mode=0o700)  # never that of somebody else, who could exchange the files in it
    except OSError as error:
        raise IdentityError(f"{partial} cannot be made: {error.strerror}") from error
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def new_directory(directory: Path) -> Iterator[Path]:
    """A directory that appears under its name, with all that the block writes into it, when the block ends well.

    Raises:
        IdentityError: it cannot be made.
    """
    with partial_directory(directory) as partial:
        yield partial
        try:
            partial.rename(directory)
        except OSError as error:
            raise IdentityError(f"{directory} cannot be made: {error.strerror}") from error

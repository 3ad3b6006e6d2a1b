"""Where the processes of a site other than rank 0 have the files of their shards."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_RANK = re.compile(r"rank-([0-9]+)")
_OURS = re.compile(r"(?:(?:best|kept)-[0-9a-f]{64}|training-\d{9}-\d+|\w+-\d{9})\.safetensors")


def rank_directory(directory: Path, rank: int) -> Path:
    """The directory of a process, in that of the checkpoints of its site."""
    return directory / f"rank-{rank}"


def remove_former_ranks(directory: Path, ranks: int) -> None:
    """Remove the files of processes that an earlier run of this site had and this one has not.

    What Swarm has not written stays, and so does a directory with something else in it.

    Args:
        directory: of the checkpoints of the site.
        ranks: processes of this run that have files, rank 0 included.

    Raises:
        OSError: a file could not be removed.
    """
    for place in directory.glob("rank-*"):
        found = _RANK.fullmatch(place.name)
        if found and int(found[1]) >= ranks and place.is_dir() and not place.is_symlink():
            for path in place.iterdir():
                if _OURS.fullmatch(path.name):
                    path.unlink(missing_ok=True)
            with suppress(OSError):  # it holds something else
                place.rmdir()

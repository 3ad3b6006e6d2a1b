"""The file by which the operator of a site asks to end the training: `swarm stop` writes it, and the peer looks for it.

A file and no call, so that nobody can give a peer commands over the network.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from swarm.storage.places import STATE

NAME = "swarm-stop"
RUNS = f"*/{STATE}"
"""Of a directory of `swarm up`: what shows a peer's own directory in it."""


def ask(place: Path) -> list[Path]:
    """Ask the peers of a model directory, or of a rendezvous directory; the files that say so.

    Args:
        place: as it was given to `swarm run` or `swarm up`.

    Raises:
        OSError: it is not there, or cannot be written.
    """
    files = [directory / NAME for directory in (place, *sorted(found.parent for found in place.glob(RUNS)))]
    for file in files:
        file.write_text("The training ends once more than half of the sites have asked. Written by `swarm stop`.\n")
        os.utime(file)
    return files


class StopRequest:
    """Whether the operator of this site has asked to end the training since this peer has started."""

    def __init__(self, places: Iterable[Path]) -> None:
        """``places`` may get the file; one that is there already was for an earlier run."""
        self._before = {place / NAME: _written(place / NAME) for place in places}
        self._asked = False

    @property
    def asked(self) -> bool:
        """Whether they have. Once they have, it stays."""
        self._asked = self._asked or any(
            (written := _written(file)) is not None and written != before for file, before in self._before.items()
        )
        return self._asked


def _written(file: Path) -> int | None:
    """When the file was written, in nanoseconds; None where it is not there or cannot be looked at."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None

"""How the processes of a site reach each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarm.tensors.state import Array


class ProcessGroup(ABC):
    """The processes of a site, by rank. Each calls the same methods in the same order, on one thread at a time."""

    rank: int
    """Of this process, from 0."""
    size: int
    """Number of processes."""
    time_out: float
    """Seconds that a call waits for the other processes."""

    @abstractmethod
    def share(self, array: Array) -> None:
        """Set a contiguous array to the values that rank 0 has in its own, of the same size and dtype.

        Raises:
            RanksError: a process is gone, or has not called this within ``time_out``.
        """

    @abstractmethod
    def gather(self, data: bytes) -> list[bytes]:
        """What each process gave, by rank.

        Raises:
            RanksError: as ``share``.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the connections; never raises, and does not wait for the others."""

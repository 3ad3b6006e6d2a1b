"""How far the local training is, in epochs, and how long the rest of it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarm.clock import Clock


@dataclass(frozen=True, slots=True)
class _Mark:
    """The last moment at which anything was noted; replaced as a whole, so that other threads may read it."""

    epochs: int
    """Epochs of the training that are done."""
    timed: int
    """Those of them that ended in this run."""
    seconds: float
    """What the timed ones took together."""


class Progress:
    """Counts the epochs of one run; written by the training thread, read by any."""

    def __init__(self, total: int | None, clock: Clock) -> None:
        """The run begins now.

        Args:
            total: epochs of the whole training, if known.
            clock: tells how long they take.
        """
        self.total = total
        self._clock = clock
        self._began = clock.now()
        self._mark = _Mark(0, 0, 0.0)

    @property
    def epochs(self) -> int:
        """Epochs that are done."""
        return self._mark.epochs

    def begin(self) -> None:
        """Time the epochs from here on: what came before was no training."""
        self._began = self._clock.now()

    def epoch_ended(self, epoch: int) -> None:
        """Note the end of an epoch.

        Args:
            epoch: its number, from 0. A training that goes on from a checkpoint starts with a higher one; a loop that
                numbers anew, or never counts up, still gets one further with every call.
        """
        mark = self._mark
        self._mark = _Mark(max(mark.epochs, epoch) + 1, mark.timed + 1, self._clock.now() - self._began)

    def seconds_left(self) -> float | None:
        """Estimated seconds to the end of the training, from the mean of the epochs that this run has timed.

        It falls while an epoch runs, and stands still where one takes longer than the mean. None where ``total`` is
        not known or no epoch is over.
        """
        mark = self._mark
        if self.total is None or not mark.timed:
            return None
        each, left = mark.seconds / mark.timed, self.total - mark.epochs
        if left <= 0:
            return 0.0
        running = self._clock.now() - self._began - mark.seconds
        return each * (left - 1) + max(0.0, each - running)

    def __str__(self) -> str:
        """As in ``3/10``, with the total where it is known."""
        return f"{self.epochs}" if self.total is None else f"{self.epochs}/{self.total}"

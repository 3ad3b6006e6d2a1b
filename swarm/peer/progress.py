"""Progress of the local training in epochs, and an estimate of the time that is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarm.clock import Clock


@dataclass(frozen=True, slots=True)
class _EpochEnd:
    """State at the end of the last epoch; replaced as a whole, so that other threads can read it."""

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
        self._last = _EpochEnd(0, 0, 0.0)

    @property
    def epochs(self) -> int:
        """Epochs that are done."""
        return self._last.epochs

    def begin(self) -> None:
        """Time the epochs from now on; the time before was no training."""
        self._began = self._clock.now()

    def epoch_ended(self, epoch: int) -> None:
        """Note the end of an epoch.

        Args:
            epoch: its number, from 0. A training that continues from a checkpoint starts with a higher one. If a loop
                repeats a number, every call still counts as one more epoch.
        """
        last = self._last
        self._last = _EpochEnd(max(last.epochs, epoch) + 1, last.timed + 1, self._clock.now() - self._began)

    def seconds_left(self) -> float | None:
        """Estimated seconds to the end of the training, from the mean of the epochs that this run has timed.

        It falls while an epoch runs, and stays constant if the epoch takes longer than the mean. None if ``total`` is
        unknown or no epoch is over.
        """
        last = self._last
        if self.total is None or not last.timed:
            return None
        each, left = last.seconds / last.timed, self.total - last.epochs
        if left <= 0:
            return 0.0
        running = self._clock.now() - self._began - last.seconds
        return each * (left - 1) + max(0.0, each - running)

    def __str__(self) -> str:
        """As in ``3/10``, with the total where it is known."""
        return f"{self.epochs}" if self.total is None else f"{self.epochs}/{self.total}"

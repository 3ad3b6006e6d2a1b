"""What one sync point takes."""

from __future__ import annotations

import time


class Timing:
    """Runs from the start of a sync point to its end; the training may go on in between."""

    def __init__(self, traffic: tuple[int, int]) -> None:
        """It begins now, and the training stands still. ``traffic``: bytes sent and received by now."""
        self.traffic = traffic
        self.seconds = 0.0
        """From the start to the end."""
        self.stall = 0.0
        """Of these, seconds in which the training stood still."""
        self._started = self._halted = time.perf_counter()

    def go_on(self) -> None:
        """The training goes on."""
        self.stall += time.perf_counter() - self._halted

    def halt(self) -> None:
        """The training stands still again."""
        self._halted = time.perf_counter()

    def end(self) -> None:
        """The sync point is over; the training has stood still."""
        now = time.perf_counter()
        self.seconds = now - self._started
        self.stall += now - self._halted

"""What one sync point takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarm.clock import Clock


class Timing:
    """Runs from the start of a sync point to its end; the training may go on in between."""

    def __init__(self, traffic: tuple[int, int], clock: Clock) -> None:
        """It begins now, and the training stands still. ``traffic``: bytes sent and received by now."""
        self._clock = clock
        self.traffic = traffic
        self.seconds = 0.0
        """From the start to the end."""
        self.stall = 0.0
        """Of these, seconds in which the training stood still."""
        self._started = self._halted = self._clock.now()

    def go_on(self) -> None:
        """The training goes on."""
        self.stall += self._clock.now() - self._halted

    def halt(self) -> None:
        """The training stands still again."""
        self._halted = self._clock.now()

    def end(self) -> None:
        """The sync point is over; the training has stood still."""
        now = self._clock.now()
        self.seconds = now - self._started
        self.stall += now - self._halted

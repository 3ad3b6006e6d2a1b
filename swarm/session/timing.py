"""The duration of one sync point."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarm.clock import Clock


class Timing:
    """Measures a sync point from start to end; the training may continue in between."""

    def __init__(self, traffic: tuple[int, int], clock: Clock) -> None:
        """Start now, with the training stopped. ``traffic``: bytes sent and received by now."""
        self._clock = clock
        self.traffic = traffic
        self.seconds = 0.0
        """From the start to the end."""
        self.stall = 0.0
        """Of these, seconds in which the training was stopped."""
        self._started = self._halted = self._clock.now()

    def go_on(self) -> None:
        """The training continues."""
        self.stall += self._clock.now() - self._halted

    def halt(self) -> None:
        """The training stops again."""
        self._halted = self._clock.now()

    def end(self) -> None:
        """The sync point is over; the training was stopped until now."""
        now = self._clock.now()
        self.seconds = now - self._started
        self.stall += now - self._halted

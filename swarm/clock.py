"""Time as a dependency: protocol code reads a clock, which tests and simulations can set."""

from __future__ import annotations

import math
import time
from typing import Protocol


class Clock(Protocol):
    """A source of monotonic seconds."""

    def now(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...


class MonotonicClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Seconds of ``time.monotonic``."""
        return time.monotonic()


class ManualClock:
    """A clock that moves only by ``advance``."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        """The current seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move forward by ``seconds``; a negative amount is a ``ValueError``."""
        if seconds < 0:
            raise ValueError(f"a monotonic clock cannot go back by {-seconds} s")
        self._now += seconds


def duration(seconds: float) -> str:
    """Seconds as readable text, rounded up: ``1:20``, or ``2:00:05`` from one hour on."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

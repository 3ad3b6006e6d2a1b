"""Clocks of single processes: they jump, and go faster or slower than the rest of the world."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class ProcessClock:
    """A monotonic clock as one process sees it."""

    rate: float = 1.0
    ahead: float = 0.0

    def read(self, moment: float) -> float:
        """What it shows at a moment of the world."""
        return moment * self.rate + self.ahead

    def moment(self, reading: float) -> float:
        """When it will show ``reading``; never earlier, whatever rounding does."""
        return (reading - self.ahead) / self.rate + 1e-6

    def drift(self, rate: float, moment: float) -> None:
        """Go at ``rate`` from ``moment`` on."""
        self.ahead += moment * (self.rate - rate)
        self.rate = rate

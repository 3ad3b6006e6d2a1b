"""How long to wait for peers that are slower than the rest, learned from when their offers arrive."""

from __future__ import annotations

from collections import deque
from statistics import median

FIRST_GRACE = 30.0
"""Seconds of grace before any round has been seen."""
FLOOR = 0.5
"""Least learned grace in seconds: below it, ordinary jitter of a small model would drop peers."""
SPREAD = 6.0
"""Median absolute deviations above the median that still count as on time."""
PATIENCE = 10.0
"""A live peer that a quorum needs is waited for this many usual round periods."""
LEAST_PATIENCE = 60.0
"""Least seconds of that."""


class Pace:
    """Learns from the last rounds how far offers lie apart, and how long a round takes."""

    def __init__(self, fixed_grace: float | None, first_patience: float, window: int = 32) -> None:
        self._fixed = fixed_grace
        self._first_patience = first_patience
        self._spreads: deque[float] = deque(maxlen=window)
        self._periods: deque[float] = deque(maxlen=window)
        self._committed_at: float | None = None

    def arrived(self, seconds: float) -> None:
        """The last offer of a round came ``seconds`` after the first; also called for one that came too late."""
        self._spreads.append(seconds)

    def committed(self, now: float) -> None:
        """A round committed."""
        if self._committed_at is not None:
            self._periods.append(now - self._committed_at)
        self._committed_at = now

    @property
    def grace(self) -> float:
        """Seconds to wait for the rest once a quorum has offered: median + k·MAD of the spreads seen."""
        if self._fixed is not None:
            return self._fixed
        if not self._spreads:
            return FIRST_GRACE
        middle = median(self._spreads)
        deviation = median(abs(spread - middle) for spread in self._spreads)
        return min(max(middle + SPREAD * max(deviation, 0.25 * middle), FLOOR), max(FIRST_GRACE, 2 * middle))

    @property
    def patience(self) -> float:
        """Seconds to wait for live peers without whom there is no quorum."""
        if not self._periods:
            return self._first_patience
        return max(LEAST_PATIENCE, PATIENCE * median(self._periods))

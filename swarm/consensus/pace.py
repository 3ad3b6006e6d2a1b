"""How long to wait for peers that are slower than the rest, learned from when their offers arrive."""

from __future__ import annotations

from collections import deque
from statistics import median

FIRST_STRAGGLER_TIMEOUT = 30.0
"""Seconds of straggler timeout at the start, and most seconds of it before it is learned."""
SAMPLES = 5
"""Rounds from which straggler timeout is learned; with fewer, the first pause for an evaluation would drop a peer."""
FLOOR = 0.5
"""Least learned straggler timeout in seconds: below it, ordinary jitter of a small model would drop peers."""
SPREAD = 6.0
"""Median absolute deviations above the median that still count as on time."""
PATIENCE = 10.0
"""A live peer that a quorum needs is waited for this many times as long as this peer trains between sync points."""


class Pace:
    """Learns from the last rounds how far offers lie apart, and how long the training between them takes."""

    def __init__(self, fixed_straggler_timeout: float | None, failure_timeout: float, window: int = 32) -> None:
        self._fixed = fixed_straggler_timeout
        self._failure_timeout = failure_timeout
        self._spreads: deque[float] = deque(maxlen=window)
        self._intervals: deque[float] = deque(maxlen=window)

    def arrived(self, seconds: float) -> None:
        """The last offer of a round came ``seconds`` after the first."""
        self._spreads.append(seconds)

    def trained(self, seconds: float) -> None:
        """This peer trained for ``seconds`` between two sync points."""
        self._intervals.append(seconds)

    @property
    def first_straggler_timeout(self) -> float:
        """Seconds for which the start waits for newcomers once there are enough peers."""
        return FIRST_STRAGGLER_TIMEOUT if self._fixed is None else self._fixed

    @property
    def straggler_timeout(self) -> float:
        """Seconds to wait for the rest once a quorum has offered: median + k·MAD of the spreads seen."""
        if self._fixed is not None:
            return self._fixed
        if len(self._spreads) < SAMPLES:
            return min(FIRST_STRAGGLER_TIMEOUT, self.patience)
        middle = median(self._spreads)
        deviation = median(abs(spread - middle) for spread in self._spreads)
        return min(
            max(middle + SPREAD * max(deviation, 0.25 * middle), FLOOR), max(FIRST_STRAGGLER_TIMEOUT, 2 * middle)
        )

    @property
    def patience(self) -> float:
        """Seconds to wait for live peers without whom there is no quorum."""
        usual = median(self._intervals) if self._intervals else 0.0
        return max(self._failure_timeout, PATIENCE * usual)

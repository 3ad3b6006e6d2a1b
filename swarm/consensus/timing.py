"""Time in a state machine without a clock: time-outs, retransmission, and how long to wait for slower peers."""

from __future__ import annotations

from collections import deque
from statistics import median

FIRST_STRAGGLER_TIMEOUT = 30.0
"""Straggler timeout of the start, in seconds, and the upper bound before it is learned."""
SAMPLES = 5
"""Rounds before the straggler timeout is learned; with fewer, the first pause for an evaluation would drop a peer."""
FLOOR = 0.5
"""Smallest learned straggler timeout in seconds: below it, the usual jitter of a small model would drop peers."""
SPREAD = 6.0
"""Median absolute deviations above the median that still count as on time."""
MOST_INTERVALS = 3.0
"""Straggler timeout at most, once it is learned, in times for which this peer trains between sync points."""
PATIENCE = 10.0
"""A live peer that a quorum needs is waited for this many times as long as this peer trains between sync points."""

LONGEST_SILENCE = 600.0
"""Seconds for which those who have trained wait at least for a live peer that reaches no sync point."""
SILENCE = 30.0
"""They wait as many times as long as they have trained between sync points, if that is longer."""
LONGEST_TRAINING = 30.0
"""Those who have trained, if they are a quorum, wait for the rest so many times as long as they have trained."""
LEAST_TRAINING = 3600.0
"""Seconds for which they wait at most where they have trained for less than two minutes."""
STALL = 30.0
"""So much later than it had to look, the process of a machine was stopped, or its clock has jumped."""


class Timer:
    """The time of the current input, and when the machine has to look again."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.wake: float | None = None
        """When to look again if no input comes first."""
        self.slept = 0.0
        """Seconds in which this process stood still: in these it heard nobody, whatever the others did."""

    @property
    def awake(self) -> float:
        """The time without that in which this process stood still."""
        return self.now - self.slept

    def advance(self, now: float) -> None:
        """An input arrives at ``now``."""
        if self.wake is not None and now > self.wake + STALL:
            self.slept += now - self.wake
        self.now = now

    def reset(self) -> None:
        """The machine looks now: forget when it had to."""
        self.wake = None

    def past(self, moment: float) -> bool:
        """Whether ``moment`` has been reached; if not, the machine wakes up then."""
        if self.now >= moment:
            return True
        self.wake = moment if self.wake is None else min(self.wake, moment)
        return False


class Retransmission:
    """When to retransmit one thing: after pauses that double from the first to the longest."""

    def __init__(self, timer: Timer, first: float, longest: float) -> None:
        """``first`` and ``longest`` are seconds."""
        self._timer = timer
        self._first = self._pause = first
        self._longest = longest
        self._at: float | None = None

    def restart(self) -> None:
        """It has just been sent: the first pause begins."""
        self._at = None

    def hurry(self) -> None:
        """A peer may lack it: retransmit after the first pause at the latest, however often this is called."""
        self._pause = self._first
        if self._at is not None:
            self._at = min(self._at, self._timer.now + self._first)

    def due(self, *, needed: bool) -> bool:
        """Whether to retransmit now; call it at every input. ``needed``: whether an answer is missing."""
        timer = self._timer
        if not needed:
            self.restart()
            return False
        if self._at is None:
            self._pause = self._first
            self._at = timer.now + self._pause
        if not timer.past(self._at):
            return False
        self._pause = min(2 * self._pause, self._longest)
        self._at = timer.now + self._pause
        timer.past(self._at)
        return True


class Pace:
    """Learns from the last rounds how far apart offers arrive, and how long this peer trains between sync points."""

    def __init__(self, fixed_straggler_timeout: float | None, failure_timeout: float, window: int = 32) -> None:
        self._fixed = fixed_straggler_timeout
        self._failure_timeout = failure_timeout
        self._spreads: deque[float] = deque(maxlen=window)
        self._intervals: deque[float] = deque(maxlen=window)
        self._training_since: float | None = None

    def arrived(self, seconds: float) -> None:
        """The last offer of a round came ``seconds`` after the first."""
        self._spreads.append(seconds)

    def training_from(self, moment: float | None) -> None:
        """This peer trains without interruption since ``moment``; None where that is not known."""
        self._training_since = moment

    def training_until(self, moment: float) -> None:
        """This peer has reached its next sync point."""
        if self._training_since is not None:
            self._intervals.append(moment - self._training_since)

    @property
    def first_straggler_timeout(self) -> float:
        """Seconds for which the start waits for more peers once there are enough."""
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
        learned = min(
            max(middle + SPREAD * max(deviation, 0.25 * middle), FLOOR), max(FIRST_STRAGGLER_TIMEOUT, 2 * middle)
        )
        # A peer that is always just in time would make it grow without end.
        return min(learned, max(FLOOR, MOST_INTERVALS * median(self._intervals))) if self._intervals else learned

    @property
    def longest_silence(self) -> float:
        """Seconds after which a session does not wait for a live peer that reaches no sync point."""
        return max(LONGEST_SILENCE, SILENCE * median(self._intervals) if self._intervals else 0.0)

    def longest_training(self, rounds: int) -> float:
        """Seconds for which a quorum that has trained for ``rounds`` rounds waits for those who train on."""
        trained = rounds * median(self._intervals) if self._intervals else 0.0
        return max(LEAST_TRAINING, LONGEST_TRAINING * trained)

    @property
    def patience(self) -> float:
        """Seconds to wait for live peers without which there is no quorum."""
        usual = median(self._intervals) if self._intervals else 0.0
        return max(self._failure_timeout, PATIENCE * usual)

"""The arms of a training loop, in turn, and the time that each spends in callbacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter_ns

from benchmarks.harness.figures import in_turn

NONE, EMPTY, SWARM = ARMS = ("none", "empty", "swarm")
"""No callback, a callback that does nothing, and Swarm's."""

Samples = dict[str, dict[str, list[float]]]
"""By quantity ("hooks", "batch") and arm: nanoseconds per batch, one number per repetition."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. In each repetition, every arm trains for one epoch."""

    batches: int
    """Batches per epoch."""
    repeats: int
    """Repetitions that count."""
    warmup: int
    """Repetitions before them that do not count."""

    def order(self) -> Iterator[str]:
        """The arm of each epoch."""
        return (arm for arm, _ in in_turn(ARMS, self.repeats, self.warmup))

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return len(ARMS) * (self.warmup + self.repeats)


class Turns:
    """Times the epochs of a plan, one after another.

    In every batch, ``start`` is called before and ``stop`` after the arm's callback. All arms contain the time of these
    two calls, so that it cancels out in differences.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._order = plan.order()
        self._taken: list[tuple[str, float, float]] = []
        self._arm = NONE
        self._began = self._since = self._until = self._hooks = 0

    def begin(self) -> str:
        """Begin the next epoch; returns its arm."""
        self._arm = next(self._order)
        self._hooks = 0
        self._began = perf_counter_ns()
        return self._arm

    def start(self) -> None:
        """Call this before a callback."""
        self._since = perf_counter_ns()

    def stop(self) -> None:
        """Call this after a callback."""
        self._until = perf_counter_ns()
        self._hooks += self._until - self._since

    def end(self) -> None:
        """End the epoch after its last batch."""
        batches = self._plan.batches
        self._taken.append((self._arm, self._hooks / batches, (self._until - self._began) / batches))

    @property
    def complete(self) -> bool:
        """Whether all epochs have ended."""
        return len(self._taken) == self._plan.epochs

    def samples(self) -> Samples:
        """The times of the repetitions that count."""
        counted = self._taken[len(ARMS) * self._plan.warmup :]
        return {
            "hooks": {arm: [hooks for taken, hooks, _ in counted if taken == arm] for arm in ARMS},
            "batch": {arm: [batch for taken, _, batch in counted if taken == arm] for arm in ARMS},
        }

"""The arms that a training loop takes in turn, and the time that each spends in callbacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

NONE, EMPTY, SWARM = ARMS = ("none", "empty", "swarm")
"""No callback at all, one that does nothing, and Swarm's."""

Samples = dict[str, dict[str, list[float]]]
"""By quantity ("hooks", "batch") and arm: nanoseconds per batch, one number per repetition."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured; an epoch is one arm's share of one repetition."""

    batches: int
    """Batches per epoch."""
    repeats: int
    """Repetitions that count."""
    warmup: int
    """Repetitions before them that do not."""

    def order(self) -> Iterator[str]:
        """The arm of each epoch; every second repetition runs backwards, so that drift favours none."""
        for repetition in range(self.warmup + self.repeats):
            yield from ARMS if repetition % 2 == 0 else reversed(ARMS)

    @property
    def epochs(self) -> int:
        """Epochs in all."""
        return len(ARMS) * (self.warmup + self.repeats)


class Turns:
    """Times the epochs of a plan, one after another.

    ``start`` and ``stop`` enclose, in every batch, the place where the arm's callback is called. What they cost
    themselves is in all arms, so that it cancels out.
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
        """A callback comes next."""
        self._since = perf_counter_ns()

    def stop(self) -> None:
        """It has been called."""
        self._until = perf_counter_ns()
        self._hooks += self._until - self._since

    def end(self) -> None:
        """All batches of the epoch are done."""
        batches = self._plan.batches
        self._taken.append((self._arm, self._hooks / batches, (self._until - self._began) / batches))

    @property
    def complete(self) -> bool:
        """Whether every epoch has been taken."""
        return len(self._taken) == self._plan.epochs

    def samples(self) -> Samples:
        """What the repetitions after the warm-up took."""
        counted = self._taken[len(ARMS) * self._plan.warmup :]
        return {
            "hooks": {arm: [hooks for taken, hooks, _ in counted if taken == arm] for arm in ARMS},
            "batch": {arm: [batch for taken, _, batch in counted if taken == arm] for arm in ARMS},
        }


def put_between(callbacks: list[Any], before: object, after: object, subjects: list[Any]) -> None:
    """Make ``subjects`` the callbacks that a framework calls after ``before`` and ahead of ``after``."""
    callbacks[callbacks.index(before) + 1 : callbacks.index(after)] = subjects

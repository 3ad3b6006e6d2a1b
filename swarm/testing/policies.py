"""The contract of a sync policy, as a pytest class.

Subclass it in a test module and say how your policy is made::

    class TestMyPolicy(SyncPolicyContract):
        policy = MyPolicy
"""

from __future__ import annotations

import itertools
import math
import random
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swarm.records import SyncState
    from swarm.sync.base import SyncPolicy

Losses = list[tuple[int, float]]

INTERVALS = (1, 2, 7, 128, 100_000)


def histories(rounds: int = 60) -> Iterator[list[Losses]]:
    """Losses of five peers round by round: falling, flat, rising, erratic, negative, missing and not finite."""
    rng = random.Random(0)  # noqa: S311 test data
    trends: tuple[Callable[[int], float], ...] = (
        lambda t: 2.0 * 0.9**t,
        lambda _: 1.0,
        lambda t: 1.0 + t,
        lambda _: rng.uniform(0, 10),
        lambda t: -1.0 - t,
        lambda t: (math.nan, math.inf, -math.inf, 1.0)[t % 4],
    )
    weights = (1, 100, 3, 7, 50)
    for trend in trends:
        yield [[(weight, trend(t) * (1 + weight / 1000)) for weight in weights] for t in range(rounds)]
    yield [[] if t % 2 else [(1, 1 / (t + 1))] for t in range(rounds)]
    yield [[]] * rounds


class SyncPolicyContract:
    """What every sync policy must hold. Set ``policy`` to the class, or a function of the interval."""

    policy: Callable[[int], SyncPolicy]

    def make(self, interval: int) -> SyncPolicy:
        """A policy of a session with this ``sync_interval``."""
        return type(self).policy(interval)

    def run(self, interval: int, history: list[Losses]) -> list[SyncState]:
        """The states that one peer goes through."""
        policy = self.make(interval)
        return list(itertools.accumulate(history, policy.next, initial=policy.start()))

    @pytest.mark.parametrize("interval", INTERVALS)
    def test_starts_with_the_interval_of_the_session(self, interval: int) -> None:
        """The first interval is the one that the user set."""
        assert self.make(interval).start().interval == interval

    @pytest.mark.parametrize("interval", INTERVALS)
    def test_interval_is_a_bounded_positive_integer(self, interval: int) -> None:
        """No history of losses drives it to nothing or beyond a thousand times what the user set."""
        for history in histories():
            for state in self.run(interval, history):
                assert isinstance(state.interval, int)
                assert 1 <= state.interval <= 1000 * interval

    def test_state_never_holds_a_loss_that_is_not_finite(self) -> None:
        """A NaN in the committed record would compare unequal to itself, and spoil every later comparison."""
        for history in histories():
            for state in self.run(128, history):
                assert state.loss is None or math.isfinite(state.loss)

    def test_same_inputs_give_the_same_states(self) -> None:
        """Two peers that see the same losses agree, and a policy leaves its arguments alone."""
        for history in histories():
            before = repr(history)
            assert self.run(128, history) == self.run(128, history)
            assert repr(history) == before

    def test_order_of_the_peers_does_not_matter(self) -> None:
        """Losses may arrive in any order."""
        rng = random.Random(1)  # noqa: S311 test data
        for history in histories():
            shuffled = [rng.sample(losses, len(losses)) for losses in history]
            assert self.run(128, shuffled) == self.run(128, history)

    def test_a_late_joiner_needs_only_the_state(self) -> None:
        """A policy made in the middle of a session goes on like those that were there from the start."""
        for history in histories():
            states = self.run(128, history)
            joined = [self.make(128).next(state, losses) for state, losses in zip(states, history, strict=False)]
            assert joined == states[1:]

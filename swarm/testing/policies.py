"""The contract of a sync policy, as a pytest class.

Subclass it in a test module and say how your policy is made::

    class TestMyPolicy(SyncPolicyContract):
        policy = MyPolicy
"""

from __future__ import annotations

import itertools
import math
import random
from typing import TYPE_CHECKING, ClassVar

import pytest

from swarm.records import SyncState
from swarm.sync.base import SyncPolicy
from swarm.testing.wording import broken, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Signals = list[tuple[int, float]]

INTERVALS = (1, 2, 7, 128, 100_000)


def histories(rounds: int = 60) -> Iterator[list[Signals]]:
    """Signals of five peers round by round: falling, flat, rising, erratic, negative, missing and not finite."""
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
    one_cannot_set: ClassVar[bool] = True
    """Whether the signal of one peer of three or more moves the interval no further than those of the others could."""

    def make(self, interval: int) -> SyncPolicy:
        """A policy of a session with this ``sync_interval``."""
        factory = getattr(type(self), "policy", None)
        policy = factory(interval) if callable(factory) else None
        assert isinstance(policy, SyncPolicy), broken(
            "A session calls the registered factory with sync_interval, and gets an instance of swarm.sync.SyncPolicy.",
            given=f"policy = {shown(factory)} in the test class, called with {interval}",
            got=shown(policy),
            do="derive a class from SyncPolicy, and set policy to the class itself: policy = MyPolicy",
        )
        return policy

    def run(self, interval: int, history: list[Signals]) -> list[SyncState]:
        """The states that one peer goes through."""
        policy = self.make(interval)
        states = list(itertools.accumulate(history, policy.next, initial=policy.start()))
        for state in states:
            assert isinstance(state, SyncState), broken(
                f"{type(policy).__name__}: start() and next() give a swarm.records.SyncState.",
                given=f"sync_interval={interval}",
                got=shown(state),
                do="return SyncState(interval), or SyncState(interval, reference)",
            )
        return states

    def _broken(self, required: str, given: str, got: str, do: str) -> str:
        return broken(f"{type(self.make(1)).__name__}: {required}", given=given, got=got, do=do)

    @pytest.mark.parametrize("interval", INTERVALS)
    def test_starts_with_the_interval_of_the_session(self, interval: int) -> None:
        """The first interval is the one that the user set."""
        first = self.make(interval).start()
        assert first.interval == interval, self._broken(
            "The first interval is the one that the user set.",
            f"sync_interval={interval}",
            shown(first),
            "leave start() out, or return SyncState(self.interval) from it",
        )

    @pytest.mark.parametrize("interval", INTERVALS)
    def test_interval_is_a_bounded_positive_integer(self, interval: int) -> None:
        """No history of signals drives it to nothing or beyond a thousand times what the user set."""
        for history in histories():
            for state in self.run(interval, history):
                given: object = state.interval
                sound = isinstance(given, int) and 1 <= given <= 1000 * interval
                assert sound, self._broken(
                    "An interval is an int from 1 to a thousand times sync_interval.",
                    f"sync_interval={interval} and the signals {shown(history[:3])} in the first rounds",
                    shown(state),
                    "round to an int, and bound it: min(highest, max(1, interval))",
                )

    def test_state_never_holds_a_reference_that_is_not_finite(self) -> None:
        """A NaN in the committed record would compare unequal to itself, and spoil every later comparison."""
        for history in histories():
            for state in self.run(128, history):
                assert state.reference is None or math.isfinite(state.reference), self._broken(
                    "A state holds a finite reference or None.",
                    f"sync_interval=128 and the signals {shown(history[:3])} in the first rounds",
                    shown(state),
                    "keep the reference of the state before where a signal is NaN or infinite",
                )

    def test_same_inputs_give_the_same_states(self) -> None:
        """Two peers that see the same signals agree, and a policy leaves its arguments alone."""
        for history in histories():
            before = repr(history)
            first, again = self.run(128, history), self.run(128, history)
            assert first == again, self._broken(
                "Two peers that see the same signals agree on the interval.",
                f"sync_interval=128 and the signals {shown(history[:3])} in the first rounds, twice",
                _parting(first, again),
                "draw no random numbers, read no clock, and share no state between instances",
            )
            assert repr(history) == before, self._broken(
                "A policy changes none of its arguments.",
                f"the signals {shown(history[:3])} in the first rounds",
                "other signals",
                "work on a copy",
            )

    def test_order_of_the_peers_does_not_matter(self) -> None:
        """Signals may arrive in any order."""
        rng = random.Random(1)  # noqa: S311 test data
        for history in histories():
            shuffled = [rng.sample(signals, len(signals)) for signals in history]
            ours, theirs = self.run(128, history), self.run(128, shuffled)
            assert ours == theirs, self._broken(
                "The order in which the signals of the peers come changes nothing.",
                f"the signals {shown(history[:3])} in the first rounds, and the same in another order",
                _parting(ours, theirs),
                "add up by math.fsum, which rounds once, or sort the signals",
            )

    @pytest.mark.parametrize("lie", [1e308, -1e308, 0.0, math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("weight", [1, 10**9])
    def test_one_peer_cannot_set_the_interval(self, lie: float, weight: int) -> None:
        """A false signal of one peer leads to no interval that the signals of the others could not lead to."""
        if not self.one_cannot_set:
            pytest.skip("opted out by one_cannot_set")
        for trend in (0.9, 0.999, 1.5):
            state = self.make(128).start()
            for round_ in range(20):
                honest = [(1, trend**round_), (1, 1.001 * trend**round_)]
                signals = [*honest, (weight, lie)]
                could = {self.make(128).next(state, [(1, signal)] * 3).interval for _, signal in honest}
                after = self.make(128).next(state, signals)
                assert min(could) <= after.interval <= max(could), self._broken(
                    "The signal of one peer of three moves the interval no further than those of the others could.",
                    f"{state} and the signals {shown(signals)}, of which the last is false",
                    f"{shown(after)}; the others alone lead to intervals of {min(could)} to {max(could)}",
                    "use swarm.sync.typical; where one peer may decide, set one_cannot_set = False in the test",
                )
                state = after

    def test_a_late_joiner_needs_only_the_state(self) -> None:
        """A policy made in the middle of a session goes on like those that were there from the start."""
        for history in histories():
            states = self.run(128, history)
            joined = [self.make(128).next(state, signals) for state, signals in zip(states, history, strict=False)]
            assert joined == states[1:], self._broken(
                "A policy remembers nothing beside its sync_interval: what it needs of the past is in the state.",
                f"the signals {shown(history[:3])} in the first rounds, each given to a new policy",
                _parting(states[1:], joined),
                "keep in SyncState, which travels with each round, what next() needs; not in self",
            )


def _parting(ours: list[SyncState], theirs: list[SyncState]) -> str:
    """Where two runs part."""
    pairs = enumerate(zip(ours, theirs, strict=False))
    return next((f"round {round_}: {one} and {two}" for round_, (one, two) in pairs if one != two), "the same states")

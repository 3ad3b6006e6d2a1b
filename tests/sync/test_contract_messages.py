"""The contract reports which property a broken policy violates, for which input, and what to do."""

from __future__ import annotations

import itertools
import math

import pytest

from swarm.records import SyncState
from swarm.sync import FixedInterval, SyncPolicy
from swarm.testing.policies import SyncPolicyContract


class Late(FixedInterval):
    def start(self):
        return SyncState(self.interval + 1)


class Fractional(FixedInterval):
    def next(self, state, signals):
        return SyncState(state.interval * 1.5)


class Naive(FixedInterval):
    def next(self, state, signals):
        return SyncState(state.interval, math.nan)


class Shared(FixedInterval):
    count = itertools.count(1)

    def next(self, state, signals):
        return SyncState(next(self.count))


class Sorting(FixedInterval):
    def next(self, state, signals):
        signals.sort(key=repr)
        return state


class FirstOnly(FixedInterval):
    def next(self, state, signals):
        return SyncState(state.interval, signals[0][1] if signals and math.isfinite(signals[0][1]) else None)


class Averaging(FixedInterval):
    def next(self, state, signals):
        mean = sum(signal for _, signal in signals) / max(len(signals), 1)
        return SyncState(1 if mean > 1e6 else state.interval)


class Remembering(FixedInterval):
    rounds = 0

    def next(self, state, signals):
        self.rounds += 1
        return SyncState(self.interval + self.rounds)


class Forgetful(FixedInterval):
    def next(self, state, signals):
        return None


@pytest.mark.parametrize(
    ("policy", "test", "arguments", "property_"),
    [
        (Late, "starts_with_the_interval_of_the_session", (128,), "The first interval"),
        (Fractional, "interval_is_a_bounded_positive_integer", (128,), "is an int from 1"),
        (Naive, "state_never_holds_a_reference_that_is_not_finite", (), "a finite reference or None"),
        (Shared, "same_inputs_give_the_same_states", (), "agree on the interval"),
        (Sorting, "same_inputs_give_the_same_states", (), "changes none of its arguments"),
        (FirstOnly, "order_of_the_peers_does_not_matter", (), "The order in which the signals"),
        (Remembering, "a_late_joiner_needs_only_the_state", (), "remembers nothing"),
        (Averaging, "one_peer_cannot_set_the_interval", (1e308, 1), "no further than those of the others could"),
        (Forgetful, "same_inputs_give_the_same_states", (), "give a swarm.records.SyncState"),
    ],
)
def test_a_broken_policy_hears_what_it_must_keep(
    policy: type[SyncPolicy], test: str, arguments: tuple[int, ...], property_: str
) -> None:
    contract = type("Contract", (SyncPolicyContract,), {"policy": policy})()
    with pytest.raises(AssertionError) as caught:
        getattr(contract, f"test_{test}")(*arguments)
    message = str(caught.value)
    assert property_ in message
    assert message.startswith(policy.__name__)
    assert all(part in message for part in ("given: ", "got: ", "to do: "))


@pytest.mark.parametrize("policy", [None, FixedInterval(8), lambda _interval: "fixed"])
def test_what_makes_no_policy_is_said_at_once(policy: object) -> None:
    contract = type("Contract", (SyncPolicyContract,), {"policy": policy})()
    with pytest.raises(AssertionError, match="(?s)an instance of swarm.sync.SyncPolicy.*policy = MyPolicy"):
        contract.test_starts_with_the_interval_of_the_session(8)

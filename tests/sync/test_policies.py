"""The built-in sync policies."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable

import pytest

from swarm.records import SyncState
from swarm.sync import (
    BUILTIN_POLICIES,
    AdaComm,
    DriftInterval,
    FixedInterval,
    QuadraticSynchronization,
    SecondsInterval,
    Signal,
    SyncPolicy,
    ValidationInterval,
    typical,
)
from swarm.sync.guarded import GuardedPolicy
from swarm.testing.policies import SyncPolicyContract


class TestFixedIntervalContract(SyncPolicyContract):
    policy = FixedInterval


class TestValidationIntervalContract(SyncPolicyContract):
    policy = ValidationInterval


class TestAdaCommContract(SyncPolicyContract):
    policy = AdaComm


class TestQuadraticSynchronizationContract(SyncPolicyContract):
    policy = QuadraticSynchronization


class TestDriftIntervalContract(SyncPolicyContract):
    policy = DriftInterval


class TestSecondsIntervalContract(SyncPolicyContract):
    policy = SecondsInterval


class TestGuardedPolicyContract(SyncPolicyContract):
    @staticmethod
    def policy(interval: int) -> GuardedPolicy:
        return GuardedPolicy(ValidationInterval(interval), logging.getLogger("swarm"))


def test_built_in_policies_go_by_their_names() -> None:
    names = {"fixed", "validation", "adacomm", "qsr", "drift", "seconds"}
    assert {name: make(5).name for name, make in BUILTIN_POLICIES.items()} == {name: name for name in names}


def test_fixed_interval_ignores_losses() -> None:
    assert FixedInterval(7).next(SyncState(7), [(1, 0.1)]) == SyncState(7)


def after(interval: int, mark: float | None, *losses: tuple[int, float]) -> SyncState:
    """The intervals of a session that starts at 128, for these losses."""
    return ValidationInterval(128).next(SyncState(interval, mark), losses)


def test_first_losses_set_the_mark() -> None:
    assert after(128, None, (1, 2.0), (3, 4.0)) == SyncState(128, 3.5)


@pytest.mark.parametrize(
    ("interval", "mark", "loss", "expected"),
    [
        (128, 1.0, 0.9, 160),
        (130, 1.0, 0.9, 163),
        (128, 1.0, 0.995, 64),
        (128, 1.0, 1.0, 64),
        (128, 1.0, 1.5, 64),
        (129, 1.0, 1.5, 64),
        (1000, 1.0, 0.5, 1024),
        (1024, 1.0, 0.5, 1024),
        (20, 1.0, 2.0, 16),
        (16, 1.0, 2.0, 16),
        (128, -1.0, -1.2, 160),
        (128, -1.0, -0.995, 64),
        (128, 0.0, -0.1, 160),
    ],
)
def test_interval_grows_on_improvement_and_halves_otherwise(
    interval: int, mark: float, loss: float, expected: int
) -> None:
    assert after(interval, mark, (1, loss)) == SyncState(expected, loss)


def test_losses_count_by_weight() -> None:
    assert after(128, 1.0, (99, 0.9), (1, 2.0)).interval == 160
    assert after(128, 1.0, (1, 0.9), (99, 2.0)).interval == 64


def test_without_losses_nothing_changes() -> None:
    assert after(128, 1.0) == SyncState(128, 1.0)
    assert after(128, 1.0, (0, 5.0)) == SyncState(128, 1.0)


@pytest.mark.parametrize(
    ("signals", "expected"),
    [
        ([(1, 0.4)], 0.4),
        ([(1, 2.0), (3, 4.0)], 3.5),
        ([(1, 1.0), (1, 2.0), (1, 4.0)], 2.0),
        ([(1, 4.0), (1, 1.0), (1, 3.0), (1, 2.0)], 2.5),
        ([(1, 1.0), (1, 2.0), (5, 3.0), (4, 4.0)], 3.0),
        ([(1, 1.0), (1, 2.0), (10**9, 1e308)], 2.0),
        ([(1, 1.0), (1, 2.0), (10**9, -1e308)], 1.0),
        ([(10**9, 1.5), (1, 1.0), (1, 2.0)], 1.5),
        ([(1, 1.0), (1, 2.0), (1, math.nan)], 2.0),
        ([(1, 1.0), (1, 2.0), (1, -math.inf)], 2.0),
        ([(1, 1e308)] * 4, 1e308),
        ([(1, 1.0), (1, 2.0), (1, math.nan), (1, math.inf)], math.inf),
        ([(1, 1.0), (1, math.nan), (1, math.nan)], math.inf),
        ([(1, 1.0), (0, math.nan), (0, 9.0)], 1.0),
    ],
)
def test_the_typical_signal(signals: list[tuple[int, float]], expected: float) -> None:
    assert typical(signals) == expected
    assert typical(signals[::-1]) == expected


@pytest.mark.parametrize("lie", [1e308, 0.0, -5.0, -1e308, math.nan, math.inf])
def test_one_of_three_peers_does_not_set_the_interval(lie: float) -> None:
    assert after(128, 1.0, (1, 0.5), (1, 0.6), (100, lie)).interval == 160
    assert after(128, 1.0, (1, 1.5), (1, 1.6), (100, lie)).interval == 64


def test_one_of_three_peers_leaves_no_mark_that_the_next_loss_cannot_be_compared_with() -> None:
    state = after(128, 1.0, (1, 0.5), (1, 0.6), (1, 1e308))
    assert state.reference == 0.6
    assert after(state.interval, state.reference, (1, 0.6), (1, 0.6), (1, -1e308)).interval == 80


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_loss_that_is_not_finite_is_no_improvement_and_leaves_the_mark(loss: float) -> None:
    assert after(128, 1.0, (1, 0.1), (1, loss)) == SyncState(64, 1.0)
    assert after(128, None, (1, loss)) == SyncState(64, None)


def test_peer_without_weight_cannot_spoil_the_signal() -> None:
    assert after(128, 1.0, (1, 0.5), (0, math.nan)) == SyncState(160, 0.5)


@pytest.mark.parametrize(("interval", "bounds"), [(1, (1, 8)), (7, (1, 56)), (128, (16, 1024))])
def test_bounds_follow_the_session_interval(interval: int, bounds: tuple[int, int]) -> None:
    policy = ValidationInterval(interval)
    falling = rising = policy.start()
    for step in range(60):
        falling = policy.next(falling, [(1, 0.9**step)])
        rising = policy.next(rising, [(1, 1.0 + step)])
    assert (rising.interval, falling.interval) == bounds


class Scripted(SyncPolicy):
    """Gives what a test wants, or raises it."""

    name = "scripted"

    def __init__(self, *script: object) -> None:
        super().__init__(4)
        self._script = iter(script)

    def next(self, state, losses):
        following = next(self._script)
        if isinstance(following, Exception):
            raise following
        return following


def guarded(*script: object) -> GuardedPolicy:
    return GuardedPolicy(Scripted(*script), logging.getLogger("swarm"))


@pytest.mark.parametrize("state", [SyncState(1), SyncState(2**31 - 1), SyncState(9, 0.5), SyncState(9, -3.0)], ids=str)
def test_a_usable_state_of_a_guarded_policy_counts(state: SyncState, caplog: pytest.LogCaptureFixture) -> None:
    assert guarded(state).next(SyncState(4), []) == state
    assert not caplog.messages


@pytest.mark.parametrize(
    "state",
    [
        SyncState(0),
        SyncState(-1),
        SyncState(2**31),
        SyncState(2.0),
        SyncState(8, math.nan),
        SyncState(8, math.inf),
        SyncState(8, "low"),
        None,
        8,
        (8, None),
        RuntimeError("no disk"),
    ],
    ids=str,
)
def test_an_unusable_state_of_a_guarded_policy_changes_nothing(state: object, caplog: pytest.LogCaptureFixture) -> None:
    assert guarded(state).next(SyncState(4, 0.5), []) == SyncState(4, 0.5)
    (message,) = caplog.messages
    assert message.startswith("the sync policy Scripted ")
    assert "the interval stays 4" in message


def test_what_is_wrong_with_a_guarded_policy_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    policy = guarded(SyncState(8), SyncState(0), RuntimeError("no disk"), SyncState(16))
    state, intervals = policy.start(), []
    for _ in range(4):
        state = policy.next(state, [])
        intervals.append(state.interval)
    assert policy.interval == 4
    assert intervals == [8, 8, 8, 16]
    (message,) = caplog.messages
    assert "gave SyncState(interval=0, reference=None): allowed are an interval of at least 1" in message


def test_the_error_of_a_guarded_policy_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    guarded(RuntimeError("no disk")).next(SyncState(4), [])
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "raised RuntimeError: no disk" in record.getMessage()
    assert "Traceback" in caplog.text


def test_a_policy_without_a_next_state_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        type("Incomplete", (SyncPolicy,), {"name": "incomplete"})(4)


def test_a_policy_that_says_in_the_former_way_what_it_follows_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Old.needs_loss is no longer read: write signal = Signal.VALIDATION_LOSS"):
        type("Old", (FixedInterval,), {"needs_loss": True})


def test_what_each_policy_follows() -> None:
    assert {name: make(4).signal for name, make in BUILTIN_POLICIES.items()} == {
        "fixed": Signal.NONE,
        "validation": Signal.VALIDATION_LOSS,
        "adacomm": Signal.TRAINING_LOSS,
        "qsr": Signal.LEARNING_RATE,
        "drift": Signal.DISTANCE,
        "seconds": Signal.BATCH_SECONDS,
    }
    assert GuardedPolicy(AdaComm(4), logging.getLogger("swarm")).signal is Signal.TRAINING_LOSS


def states(policy: SyncPolicy, *signals: float) -> list[SyncState]:
    """The states of a session of two peers that tell the same."""
    told = [[(1, signal), (5, signal)] for signal in signals]
    return list(itertools.accumulate(told, policy.next, initial=policy.start()))[1:]


def intervals(policy: SyncPolicy, *signals: float) -> list[int]:
    return [state.interval for state in states(policy, *signals)]


def test_adacomm_merges_more_often_by_the_root_of_the_loss() -> None:
    """The first loss is the reference: ceil(128 * sqrt(loss / 4)), at least 16 and at most 128."""
    assert intervals(AdaComm(128), 4.0, 4.0, 1.0, 0.5, 0.01, 16.0) == [128, 128, 64, 46, 16, 128]


def test_adacomm_goes_on_after_losses_that_mean_nothing() -> None:
    found = states(AdaComm(128), math.nan, -1.0, 4.0, math.inf, 0.0, 1.0)
    assert found == [SyncState(128)] * 2 + [SyncState(128, 4.0)] * 3 + [SyncState(64, 4.0)]


def test_qsr_merges_less_often_by_the_square_of_the_learning_rate() -> None:
    """The highest one gives the interval of the session; a warm-up changes nothing."""
    rates = 0.1, 0.4, 0.2, 0.15, 0.4, 0.01
    assert intervals(QuadraticSynchronization(32), *rates) == [32, 32, 128, 227, 32, 256]


def test_under_a_constant_learning_rate_qsr_changes_nothing() -> None:
    assert set(intervals(QuadraticSynchronization(32), *[0.05] * 5)) == {32}


def test_drift_keeps_the_distance_of_the_first_round() -> None:
    assert intervals(DriftInterval(64), 2.0, 2.0, 1.6, 4.0, 100.0, 0.1) == [64, 64, 80, 40, 20, 40]


def test_seconds_are_as_many_batches_as_fit() -> None:
    assert intervals(SecondsInterval(8, 60.0), 0.5, 0.1, 90.0, 0.0, 1e-9) == [120, 600, 1, 1, 8000]


@pytest.mark.parametrize("policy", [AdaComm, QuadraticSynchronization, DriftInterval, SecondsInterval])
def test_without_signals_the_state_stays(policy: Callable[[int], SyncPolicy]) -> None:
    state = SyncState(40, 3.0)
    assert policy(32).next(state, []) == policy(32).next(state, [(0, 1.0)]) == state

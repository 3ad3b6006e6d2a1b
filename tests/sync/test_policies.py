"""The built-in sync policies."""

from __future__ import annotations

import logging
import math

import pytest

from swarm.records import SyncState
from swarm.sync import BUILTIN_POLICIES, FixedInterval, ValidationInterval
from swarm.sync.guarded import GuardedPolicy
from swarm.testing.policies import SyncPolicyContract


class TestFixedIntervalContract(SyncPolicyContract):
    policy = FixedInterval


class TestValidationIntervalContract(SyncPolicyContract):
    policy = ValidationInterval


class TestGuardedPolicyContract(SyncPolicyContract):
    @staticmethod
    def policy(interval: int) -> GuardedPolicy:
        return GuardedPolicy(ValidationInterval(interval), logging.getLogger("swarm"))


def test_built_in_policies_go_by_their_names() -> None:
    assert {name: make(5).name for name, make in BUILTIN_POLICIES.items()} == {
        "fixed": "fixed",
        "validation": "validation",
    }


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

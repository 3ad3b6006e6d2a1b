"""How long to wait for the slower ones."""

from __future__ import annotations

import pytest

from swarm.consensus.timing import FIRST_STRAGGLER_TIMEOUT, FLOOR, PATIENCE, SAMPLES, Pace


def learned(*spreads: float) -> float:
    pace = Pace(None, 10.0)
    for spread in spreads:
        pace.arrived(spread)
    return pace.straggler_timeout


def train(pace: Pace, seconds: float) -> None:
    pace.training_from(100.0)
    pace.training_until(100.0 + seconds)


def test_nothing_is_learned_from_a_few_rounds() -> None:
    assert {learned(*[0.01] * count) for count in range(SAMPLES)} == {10.0}
    assert learned(*[0.01] * SAMPLES) == FLOOR


def test_until_then_the_straggler_timeout_follows_the_training_of_this_peer() -> None:
    pace = Pace(None, 10.0)
    train(pace, 2.0)
    assert pace.straggler_timeout == PATIENCE * 2.0
    train(pace, 60.0)
    assert pace.straggler_timeout == FIRST_STRAGGLER_TIMEOUT


def test_a_fixed_straggler_timeout_holds_from_the_start() -> None:
    pace = Pace(2.5, 600.0)
    assert pace.straggler_timeout == pace.first_straggler_timeout == 2.5
    for _ in range(SAMPLES):
        pace.arrived(20.0)
    assert pace.straggler_timeout == 2.5


def test_the_start_waits_for_newcomers_for_half_a_minute() -> None:
    assert Pace(None, 10.0).first_straggler_timeout == FIRST_STRAGGLER_TIMEOUT


def test_even_peers_are_waited_for_briefly() -> None:
    assert learned(*[0.01] * 10) == FLOOR


def test_uneven_peers_are_waited_for_longer() -> None:
    assert learned(*[2.0] * 10) < learned(*[1.0, 3.0] * 5) < learned(*[4.0] * 10)


@pytest.mark.parametrize("spread", [1.0, 7.0, 40.0])
def test_the_usual_spread_fits_into_the_straggler_timeout(spread: float) -> None:
    assert learned(*[spread] * 5) > spread


def test_one_outlier_changes_little() -> None:
    assert learned(*[1.0] * 10, 500.0) == pytest.approx(learned(*[1.0] * 11))


def test_the_past_is_forgotten() -> None:
    assert learned(*[9.0] * 32, *[0.01] * 32) == FLOOR


def test_patience_is_the_failure_timeout_or_some_of_the_intervals_that_this_peer_trains() -> None:
    pace = Pace(None, 10.0)
    assert pace.patience == 10.0
    train(pace, 0.1)
    assert pace.patience == 10.0
    for _ in range(3):
        train(pace, 100.0)
    assert pace.patience == PATIENCE * 100.0

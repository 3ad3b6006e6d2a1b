"""How long to wait for the slower ones."""

from __future__ import annotations

import pytest

from swarm.rounds.pace import FIRST_GRACE, FLOOR, LEAST_PATIENCE, PATIENCE, Pace


def learned(*spreads: float) -> float:
    pace = Pace(None, 600.0)
    for spread in spreads:
        pace.arrived(spread)
    return pace.grace


def test_before_any_round_the_grace_is_generous() -> None:
    assert learned() == FIRST_GRACE


def test_a_fixed_grace_is_never_learned_over() -> None:
    pace = Pace(2.5, 600.0)
    pace.arrived(20.0)
    assert pace.grace == 2.5


def test_even_peers_are_waited_for_briefly() -> None:
    assert learned(*[0.01] * 10) == FLOOR


def test_uneven_peers_are_waited_for_longer() -> None:
    assert learned(*[2.0] * 10) < learned(*[1.0, 3.0] * 5) < learned(*[4.0] * 10)


@pytest.mark.parametrize("spread", [1.0, 7.0, 40.0])
def test_the_usual_spread_fits_into_the_grace(spread: float) -> None:
    assert learned(*[spread] * 5) > spread


def test_one_outlier_changes_little() -> None:
    assert learned(*[1.0] * 10, 500.0) == pytest.approx(learned(*[1.0] * 11))


def test_the_past_is_forgotten() -> None:
    assert learned(*[9.0] * 32, *[0.01] * 32) == FLOOR


def test_patience_starts_with_what_the_start_was_given_and_follows_the_period_of_rounds() -> None:
    pace = Pace(None, 600.0)
    pace.committed(100.0)
    assert pace.patience == 600.0
    pace.committed(200.0)
    assert pace.patience == PATIENCE * 100.0


def test_patience_has_a_floor() -> None:
    pace = Pace(None, 600.0)
    for now in range(5):
        pace.committed(float(now))
    assert pace.patience == LEAST_PATIENCE

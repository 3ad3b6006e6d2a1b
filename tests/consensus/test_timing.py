"""Time-outs, retransmissions, and how long to wait for slower peers."""

from __future__ import annotations

import pytest

from swarm.consensus.timing import (
    FIRST_STRAGGLER_TIMEOUT,
    FLOOR,
    PATIENCE,
    SAMPLES,
    SPREAD,
    Pace,
    Retransmission,
    Timer,
)


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


def test_the_straggler_timeout_is_the_median_of_the_spreads_and_six_median_absolute_deviations() -> None:
    assert learned(1.0, 2.0, 3.0, 4.0, 5.0) == 3.0 + SPREAD * 1.0
    assert learned(4.0, 4.0, 4.0, 4.0, 4.0) == 4.0 + SPREAD * 1.0, "a deviation of at least a quarter of the median"


def test_it_is_at_most_half_a_minute_or_twice_the_median() -> None:
    assert learned(*[14.0] * SAMPLES) == FIRST_STRAGGLER_TIMEOUT
    assert learned(*[20.0] * SAMPLES) == 40.0


def test_the_time_before_training_began_is_unknown() -> None:
    pace = Pace(None, 10.0)
    pace.training_until(500.0)
    assert pace.patience == 10.0
    pace.training_from(500.0)
    pace.training_from(None)
    pace.training_until(900.0)
    assert pace.patience == 10.0


def test_the_timer_wakes_at_the_earliest_moment_asked_for() -> None:
    timer = Timer(5.0)
    assert timer.past(5.0)
    assert timer.wake is None
    assert not timer.past(9.0)
    assert not timer.past(7.0)
    assert not timer.past(8.0)
    assert timer.wake == 7.0


def due(retry: Retransmission, timer: Timer, until: float, *, needed: bool = True) -> list[float]:
    """When it is due on the way to ``until``, if it is asked at every moment that it names and at the end."""
    moments = []
    while timer.now < until:
        timer.reset()
        if retry.due(needed=needed):
            moments.append(timer.now)
        timer.advance(until if timer.wake is None else min(until, timer.wake))
    return moments


def test_pauses_between_retransmissions_double_up_to_the_longest() -> None:
    timer = Timer(0.0)
    assert due(Retransmission(timer, 1.0, 8.0), timer, 40.0) == [1.0, 3.0, 7.0, 15.0, 23.0, 31.0, 39.0]


def test_after_a_restart_the_first_pause_begins() -> None:
    timer = Timer(0.0)
    retry = Retransmission(timer, 1.0, 8.0)
    assert due(retry, timer, 10.0) == [1.0, 3.0, 7.0]
    retry.restart()
    assert due(retry, timer, 14.0) == [11.0, 13.0]


def test_what_is_not_needed_is_not_due_and_begins_with_the_first_pause_when_it_is_needed_again() -> None:
    timer = Timer(0.0)
    retry = Retransmission(timer, 1.0, 8.0)
    assert due(retry, timer, 10.0) == [1.0, 3.0, 7.0]
    assert due(retry, timer, 50.0, needed=False) == []
    assert due(retry, timer, 54.0) == [51.0, 53.0]


def test_a_hurried_retransmission_comes_after_the_first_pause_and_not_later_than_planned() -> None:
    timer = Timer(0.0)
    retry = Retransmission(timer, 1.0, 8.0)
    assert due(retry, timer, 9.0) == [1.0, 3.0, 7.0]
    retry.hurry()
    assert due(retry, timer, 14.5) == [10.0, 12.0]
    retry.hurry()
    assert due(retry, timer, 15.7) == [15.5]
    timer.advance(15.7)
    retry.hurry()
    timer.advance(16.5)
    retry.hurry()
    assert due(retry, timer, 17.0) == [16.7]

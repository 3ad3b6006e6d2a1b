"""Simulated swarms in which members lie: honest ones agree and go on, and the checks that this takes are all needed."""

from __future__ import annotations

import pytest

from tests.simulator.command import catch, simulate
from tests.simulator.liar_mutants import LIAR_MUTANTS
from tests.simulator.plan import draw_liars
from tests.simulator.runs import run

SCHEDULES = 90
NOTICED_AT = {
    "any_signature_is_right": 6,
    "certificates_are_not_checked": 8,
    "evidence_is_believed": 0,
    "half_is_enough": 2,
    "liars_are_not_counted": 1,
    "nobody_is_left_out": 7,
    "signatures_of_records_are_not_checked": 21,
}
"""A schedule that shows each mistake, to spare the search (`--liars --mutants`). The others were not noticed yet."""
NEARBY = 20
"""Schedules from there on that are tried."""
DISAGREES_AT = 23
"""A schedule in which more members lie than are tolerated, and honest ones disagree."""


def test_honest_members_agree_and_go_on_whatever_the_others_say() -> None:
    result = simulate(SCHEDULES, seed=0, jobs=2, liars=True)
    assert result["violations"] == 0
    assert result["committed_rounds"] >= 3 * SCHEDULES


def test_the_schedules_have_as_many_liars_as_are_tolerated_and_one_more() -> None:
    schedules = [draw_liars(seed) for seed in range(300)]
    within = {(schedule.tolerated, len(schedule.liars)) for schedule in schedules if not schedule.excess}
    beyond = {(schedule.tolerated, len(schedule.liars)) for schedule in schedules if schedule.excess}
    assert within == {(1, 1), (2, 2)}
    assert beyond == {(0, 1), (1, 2)}
    assert all(len(schedule.peers) > 3 * schedule.tolerated for schedule in schedules)
    assert {len(schedule.peers) for schedule in schedules if schedule.excess} >= {2, 3, 4, 5}


def test_where_more_lie_than_is_tolerated_a_disagreement_is_found_and_proven() -> None:
    outcome = run(draw_liars(DISAGREES_AT))
    assert outcome.violation is None
    assert outcome.disagreements > 0
    assert outcome.proven > 0


@pytest.mark.parametrize("mutant", sorted(NOTICED_AT))
def test_a_check_that_is_left_out_is_noticed(mutant: str) -> None:
    caught = catch(mutant, seed=NOTICED_AT[mutant], schedules=NEARBY)
    assert caught is not None
    assert run(caught.schedule).violation is None


def test_there_are_mutants_enough() -> None:
    assert len(NOTICED_AT) >= 7
    assert set(NOTICED_AT) <= set(LIAR_MUTANTS)

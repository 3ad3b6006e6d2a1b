"""Simulated swarms in which members lie: honest ones agree and go on, and the checks that this takes are all needed."""

from __future__ import annotations

import pytest

from tests.simulator.command import catch, simulate
from tests.simulator.liar_mutants import LIAR_MUTANTS
from tests.simulator.plan import draw_liars
from tests.simulator.runs import run

from .tested import require_noticed

SCHEDULES = 60
NOTICED_AT = {
    "any_signature_is_right": 6,
    "certificates_are_not_checked": 8,
    "evidence_is_believed": 0,
    "liars_are_not_counted": 1,
    "nobody_is_left_out": 22,
    "proposals_are_not_checked": 5,
    "signatures_of_records_are_not_checked": 21,
}
"""A schedule that shows each mistake, to spare the search (`--liars --mutants`)."""
TESTED_BY = {
    "a_leader_believes_promises": ("test_promises.py", "a_promise_that_is_not_signed_or_cannot_be"),
    "evidence_is_ignored": ("test_evidence.py", "a_proof_is_told_to_all"),
    "half_is_enough": ("test_waiting.py", "newcomers_do_not_make_half_of_the_membership_a_quorum"),
    "one_nack_ends_an_attempt": ("test_attempt.py", "one_peer_that_tells_of_a_high_attempt"),
    "promises_of_proposals_are_not_checked": ("test_checking.py", "nobody_accepts_what_a_leader_that_lies_proposes"),
    "readiness_is_not_checked": ("test_promises.py", "what_too_few_of_the_group_are_ready_with"),
    "whatever_is_held_is_accepted": ("test_member.py", "a_process_that_may_not_vote"),
}
"""Mistakes that no schedule has shown: drawn liars rarely do at the right moment what they would need. Tests do."""
NEARBY = 20
"""Schedules from there on that are tried."""
DISAGREES_AT = 861305
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


@pytest.mark.parametrize("seed", [4004, 10211, 40961, 41030])
def test_the_only_honest_one_of_two_peers_comes_to_an_end(seed: int) -> None:
    """The other one promises and never accepts, answers with higher attempts, or was proven to have voted twice."""
    schedule = draw_liars(seed)
    assert (len(schedule.peers), schedule.excess, schedule.min_peers) == (2, True, 1)
    assert run(schedule).violation is None


def test_peers_that_have_finished_do_not_wait_for_ever_for_a_voter_that_answers_no_leader() -> None:
    """One of two voters lies; the third peer is new and has no vote, and ``min_peers`` allows no fork."""
    schedule = draw_liars(61433)
    assert (len(schedule.peers), schedule.excess, schedule.min_peers) == (3, True, 2)
    assert run(schedule).violation is None


@pytest.mark.parametrize("mutant", sorted(NOTICED_AT))
def test_a_check_that_is_left_out_is_noticed(mutant: str) -> None:
    caught = catch(mutant, seed=NOTICED_AT[mutant], schedules=NEARBY)
    assert caught is not None
    assert run(caught.schedule).violation is None


@pytest.mark.parametrize("mutant", sorted(TESTED_BY))
def test_a_check_that_is_left_out_is_noticed_by_a_test(mutant: str) -> None:
    require_noticed(mutant, *TESTED_BY[mutant])


def test_each_check_is_needed() -> None:
    assert NOTICED_AT.keys() | TESTED_BY.keys() == LIAR_MUTANTS.keys()
    assert set(NOTICED_AT) <= set(LIAR_MUTANTS)

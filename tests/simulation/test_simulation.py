"""The simulated swarms: that the protocol holds, and that the simulation would notice if it did not."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from tests.simulator.command import COUNTS, catch, main, simulate
from tests.simulator.faults import FaultKind
from tests.simulator.mutants import MUTANTS, mutated
from tests.simulator.plan import draw
from tests.simulator.process import Process
from tests.simulator.runs import run, shrink

from .tested import require_noticed

SCHEDULES = 200
NOTICED_AT = {
    "a_capture_is_overwritten": 28,
    "a_claimed_norm_is_trusted": 146,
    "a_claimed_weight_is_trusted": 10,
    "a_claimed_weight_steers_the_interval": 103,
    "a_finished_peer_is_forgotten": 4,
    "a_minority_decides": 0,
    "a_return_gives_up_later_steps": 5,
    "a_round_without_contributors_resets_the_weights": 5,
    "a_share_has_no_limit": 0,
    "a_stray_is_let_in": 28,
    "accepts_without_the_bytes": 0,
    "an_absurd_norm_is_merged": 116,
    "asks_before_all_are_ready": 4,
    "closes_while_somebody_trains": 5,
    "contributions_count_equally": 0,
    "duplicates_count_as_votes": 0,
    "finished_peers_give_their_moments": 6,
    "forgets_what_it_accepted": 33,
    "forks_with_a_majority_present": 5,
    "goes_back_to_a_stale_round": 5,
    "heals_as_if_never_merged": 339,
    "heals_from_any_other_lineage": 3,
    "late_steps_count_twice": 28,
    "leader_applies_before_accepts": 3,
    "nan_is_merged": 26,
    "overlapping_steps_are_dropped": 1,
    "owners_measure_nothing": 0,
    "promises_are_not_kept": 346,
    "recovery_asks_nobody": 4,
    "recovery_ignores_accepts": 4,
    "residuals_are_forgotten": 7,
    "residuals_go_to_another_group": 7,
    "stops_while_somebody_trains_its_own": 39,
    "takes_bytes_for_a_record": 3,
    "the_forgetful_vote": 106,
    "the_model_before_stays": 0,
    "trains_on_though_all_have_trained": 3,
    "what_a_lost_round_may_hold_is_used_up": 1,
    "who_trains_on_counts_as_finished": 3,
}
"""A schedule that shows each mistake, to spare the search. A change of the protocol moves them: see `--mutants`."""
TESTED_BY = {"returns_as_if_never_merged": ("test_returning.py", "steps_that_the_other_lineage_has_not_merged")}
"""Mistakes that none of some thousand schedules has shown; a test does."""
NEARBY = 50
"""Schedules from there on that are tried."""


@pytest.mark.timeout(600)  # a minute of one core
def test_every_invariant_holds_through_the_faults_of_many_schedules() -> None:
    result = simulate(SCHEDULES, seed=0, jobs=2)
    assert result["violations"] == 0
    assert result["events"] >= 300 * SCHEDULES
    assert result["committed_rounds"] >= 3 * SCHEDULES
    only_with_liars = {"violations", "disagreements", "proven"}
    assert min(result[count] for count in COUNTS if count not in only_with_liars) > 0
    assert set(result["faults"]) == set(FaultKind)


@pytest.mark.parametrize(("seed", "liars"), [(7001436, False), (7001569, False), (7003764, False), (7100203, True)])
def test_a_copy_that_a_peer_does_not_offer_is_not_taken_for_its_offer(seed: int, liars: bool) -> None:
    assert simulate(1, seed=seed, liars=liars)["violations"] == 0


@pytest.mark.parametrize("seed", [8000262, 8001881, 8500467])
def test_rounds_go_on(seed: int) -> None:
    """After refusals that depend on one another; where a network loses messages; and after rounding alone has moved
    members that made no steps."""
    assert simulate(1, seed=seed)["violations"] == 0


@pytest.mark.parametrize("seed", [9000714, 9512154])
def test_all_may_wait_where_one_of_two_contributions_is_false_and_everybody_is_needed(seed: int) -> None:
    """A third one is none: of a peer whose status is ``active`` under a rule that is no average, or not finite."""
    assert simulate(1, seed=seed)["violations"] == 0


def test_the_schedules_cover_what_they_should() -> None:
    schedules = [draw(seed) for seed in range(2000)]
    sizes = Counter(len(schedule.peers) for schedule in schedules)
    assert set(sizes) == {*range(2, 10), 16}
    assert 0.02 < sizes[16] / len(schedules) < 0.04
    assert {peer.checkin for schedule in schedules for peer in schedule.peers} == {"inactive", "snapshot", "active"}
    assert {schedule.wait_below_quorum for schedule in schedules} == {True, False}
    assert {schedule.adaptive for schedule in schedules} == {True, False}
    assert {schedule.overlap for schedule in schedules} == {True, False}
    assert {schedule.extends for schedule in schedules} == {True, False}
    assert {schedule.largest_share for schedule in schedules} == {0.5, 1.0}
    assert {schedule.optimizer for schedule in schedules} == {True, False}
    assert {schedule.codec for schedule in schedules} == {"exact", "bf16", "int8"}
    assert any(schedule.min_peers == 1 for schedule in schedules)
    assert any(schedule.min_peers == len(schedule.peers) for schedule in schedules)


def what_happened(result: dict[str, Any]) -> dict[str, Any]:
    return {name: count for name, count in result.items() if not name.endswith("per_second")}


def test_a_schedule_replays_exactly_also_in_another_process_and_spread_over_two() -> None:
    command = [sys.executable, "-m", "swarm.testing.simulate", "--schedules", "30", "--seed", "7", "--json", "--jobs"]
    runs = [
        subprocess.run(
            [*command, jobs], env={"PYTHONHASHSEED": jobs}, capture_output=True, text=True, check=True
        ).stdout
        for jobs in ("1", "2")
    ]
    here = what_happened(simulate(30, 7))
    assert [what_happened(json.loads(line)) for line in runs] == [here, here]


@pytest.mark.parametrize(
    "seed",
    [
        956783,  # overlap: a capture with NaN was offered again, which cost the steps trained since it was replaced
        958171,  # strikes of all: the only dishonest member came back in time for each attempt
        1011452,  # forks that did not wait for live peers, which then had them given up, again and again
        1030433,  # a process that stood still took all others for silent, and forked
        944535,  # all but a dishonest member that is left out have trained their own epochs
    ],
)
def test_what_once_failed_holds(seed: int) -> None:
    assert run(draw(seed)).violation is None


def test_no_process_outlasts_its_schedule() -> None:
    def left() -> set[int]:
        gc.collect()
        return {id(thing) for thing in gc.get_objects() if isinstance(thing, Process)}

    before = left()
    run(draw(3000016))
    assert left() <= before


def test_a_schedule_that_fails_is_told_with_the_command_that_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    with mutated("leader_applies_before_accepts"):
        assert simulate(5, seed=NOTICED_AT["leader_applies_before_accepts"], show=1)["violations"] >= 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    seed = told[0].split()[1].rstrip(":")
    assert told[1].endswith(f"python -m tests.simulator --replay {seed}")


def test_ctrl_c_ends_the_command_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def press(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tests.simulator.command.simulate", press)
    assert main([]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("mutant", sorted(NOTICED_AT))
def test_a_mistake_in_the_protocol_is_noticed(mutant: str) -> None:
    caught = catch(mutant, seed=NOTICED_AT[mutant], schedules=NEARBY)
    assert caught is not None
    assert run(caught.schedule).violation is None


@pytest.mark.parametrize("mutant", sorted(TESTED_BY))
def test_a_mistake_in_the_protocol_is_noticed_by_a_test(mutant: str) -> None:
    require_noticed(mutant, *TESTED_BY[mutant])


def test_there_are_mutants_enough() -> None:
    assert len(MUTANTS) >= 12
    assert set(MUTANTS) == NOTICED_AT.keys() | TESTED_BY.keys()


def test_a_schedule_that_fails_shrinks_to_one_that_fails_alike() -> None:
    schedule = draw(NOTICED_AT["leader_applies_before_accepts"])
    with mutated("leader_applies_before_accepts"):
        found = run(schedule).violation
        smaller = shrink(schedule)
        again = run(smaller).violation
    assert found is not None
    assert again is not None
    assert again.invariant == found.invariant
    assert len(smaller.faults) <= len(schedule.faults)
    assert sum(peer.intervals for peer in smaller.peers) < sum(peer.intervals for peer in schedule.peers)


def test_a_schedule_without_faults_closes_with_all_peers() -> None:
    schedule = replace(draw(3), faults=(), loss=0.0, poisoned=0.0, min_peers=2)
    outcome = run(schedule)
    assert outcome.violation is None
    assert outcome.forks == 0
    assert outcome.committed > 1


def test_the_command_prints_its_result_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--schedules", "3", "--seed", "5", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    expected = {
        "schedules", "seed", "events", "violations", "committed_rounds", "aborted_attempts", "forks", "heals",
        "overlapped", "coded_rounds", "disagreements", "proven", "faults",
        "events_per_second", "schedules_per_second",
    }  # fmt: skip
    assert set(result) == expected


def test_the_command_replays_a_schedule(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--replay", "5"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Schedule(seed=5")
    assert "commits round" in shown
    assert shown.endswith("every invariant holds\n")

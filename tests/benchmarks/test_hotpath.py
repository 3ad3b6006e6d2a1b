from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.hotpath.__main__ import figures, table
from benchmarks.hotpath.clocks import put_between
from benchmarks.hotpath.companion import require_company, require_untouched
from benchmarks.hotpath.turns import ARMS, Plan, Turns

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.hotpath", "--framework", "pytorch", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)


def test_the_last_line_is_a_record_of_every_arm():
    done = run("--json", "--batches", "50", "--repeats", "2")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout.splitlines()[-1])
    assert (record["benchmark"], record["unit"]) == ("hotpath", "ns per batch")
    assert (record["batches"], record["repeats"]) == (50, 2)
    assert list(record["frameworks"]) == ["pytorch"]
    measured = record["frameworks"]["pytorch"]
    assert set(measured) == {"versions", "swarm", "empty", "over_empty", "batch"}
    assert set(measured["batch"]) == set(ARMS)
    assert set(measured["versions"]) == {"torch"}
    for spread in (measured["swarm"], measured["empty"], measured["over_empty"], *measured["batch"].values()):
        assert spread["q1"] <= spread["median"] <= spread["q3"]
    goal = record["goal"]
    assert goal == {"framework": "pytorch", "at_most": 1000, "met": measured["swarm"]["median"] <= 1000}


def test_too_few_repetitions_for_a_spread_are_refused():
    done = run("--repeats", "1")
    assert done.returncode == 2
    assert "1 is not allowed: allowed is an integer of at least 2" in done.stderr


def test_arms_alternate_and_every_second_repetition_runs_backwards():
    plan = Plan(batches=1, repeats=2, warmup=1)
    assert list(plan.order()) == [*ARMS, *reversed(ARMS), *ARMS]
    assert plan.epochs == 9


def test_only_what_lies_between_start_and_stop_counts_and_the_warm_up_does_not(monkeypatch):
    now = 0
    monkeypatch.setattr("benchmarks.hotpath.turns.perf_counter_ns", lambda: now)
    turns = Turns(Plan(batches=2, repeats=2, warmup=1))
    cost = {"none": 1, "empty": 3, "swarm": 7}
    while not turns.complete:
        arm = turns.begin()
        for _ in range(2):
            now += 100
            turns.start()
            now += cost[arm]
            turns.stop()
        turns.end()
    assert turns.samples() == {
        "hooks": {arm: [float(cost[arm])] * 2 for arm in ARMS},
        "batch": {arm: [100.0 + cost[arm]] * 2 for arm in ARMS},
    }


def test_costs_are_differences_within_a_repetition():
    hooks = {"none": [10.0, 20.0, 30.0], "empty": [11.0, 22.0, 31.0], "swarm": [15.0, 26.0, 38.0]}
    summary = figures({"hooks": hooks, "batch": hooks})
    assert summary["swarm"] == {"median": 6.0, "q1": 5.5, "q3": 7.0}
    assert summary["empty"]["median"] == 1.0
    assert summary["over_empty"]["median"] == 4.0
    assert summary["batch"]["none"]["median"] == 20.0
    third = {arm: [1 / 3, 1 / 3] for arm in ARMS}
    assert figures({"hooks": third, "batch": third})["batch"]["swarm"]["median"] == 0.3


@pytest.mark.parametrize(("met", "shown"), [(True, "at most 1000: met"), (False, "at most 1000: missed"), (None, "")])
def test_the_table_has_the_figures_and_the_goal(met, shown):
    spread = {"median": 391.6, "q1": 250.0, "q3": 433.0}
    batch = {"none": {"median": 149000.0, "q1": 1.0, "q3": 1.0}}
    measured = {"pytorch": {"swarm": spread, "empty": spread, "batch": batch}}
    goal = {"framework": "pytorch", "at_most": 1000.0, "met": met}
    text = table({"repeats": 30, "batches": 100, "goal": goal, "frameworks": measured})
    assert text.splitlines()[1].split("  ")[-1].strip() == "149 µs"
    assert "392 (250 to 433)" in text
    assert text.endswith(shown)
    assert ("goal for pytorch" in text) is (met is not None)


def test_an_arm_is_put_between_the_clocks():
    callbacks = ["other", "before", "a", "b", "after", "history"]
    put_between(callbacks, "before", "after", [])
    assert callbacks == ["other", "before", "after", "history"]
    put_between(callbacks, "before", "after", ["c"])
    assert callbacks == ["other", "before", "c", "after", "history"]


@pytest.mark.parametrize(
    ("metrics", "over"),
    [({"swarm_rounds": 1.0, "swarm_peers": 2.0}, False), ({"swarm_rounds": 0.0, "swarm_peers": 2.0}, True)],
)
def test_a_session_that_merged_or_ended_is_no_measurement(metrics, over):
    with pytest.raises(RuntimeError, match="did not stay between merges"):
        require_untouched(metrics, over=over)


@pytest.mark.parametrize(
    "metrics", [{"swarm_rounds": 0.0, "swarm_peers": 2.0}, {"swarm_rounds": 1.0, "swarm_peers": 1.0}]
)
def test_a_session_without_its_other_peer_is_no_measurement(metrics):
    with pytest.raises(RuntimeError, match="did not stay to the end"):
        require_company(metrics)

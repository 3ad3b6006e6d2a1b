from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.chaos import counts_of, figures
from benchmarks.fleet.faults import Effect, Fault, Kind
from benchmarks.fleet.journal import Event, What
from benchmarks.fleet.processes import Training
from benchmarks.fleet.training import Outcome, closing_accuracy, keep_if_odd

pytest.importorskip("torch")
pytest.importorskip("mlxtend")

ROOT = Path(__file__).parents[2]
TRAINING = Training(peers=4, seed=0, hidden=8, sync_interval=4, pause=0.0, failure_timeout=3.0, with_workers=2)


def effect(kind: Kind, victim: str, recovery: float | None, contributed: float | None = 12.0) -> Effect:
    fault = Fault(kind=kind, victim=victim, phase=0.5, hold=0.5)
    return Effect(fault=fault, at=10.0, recovery=recovery, back=11.0, contributed=contributed)


def test_one_kill_of_a_real_peer():
    command = [sys.executable, "-m", "benchmarks.chaos", "--json", "--kills", "1", "--peers", "3"]
    command += ["--freezes", "0", "--disconnects", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["by_kind"] == {"kill": 1, "freeze": 0, "disconnect": 0}
    assert (found["kills"], found["hangs"], found["diverged"], found["lost_rounds"]) == (1, 0, 0, 0)
    assert found["failure_timeout"] == 3.0
    assert 0 < found["recovery_seconds"]["kill"]["median"] <= found["recovery_seconds"]["kill"]["max"]
    assert found["recovery_seconds"]["freeze"] is None
    assert found["restart_seconds"]["max"] > 0
    assert found["ratio"] == pytest.approx(found["accuracy"] / found["undisturbed_accuracy"], abs=1e-3)
    assert set(found["gates"]) == {
        "hangs", "diverged", "lost_rounds", "kill_recovery", "freeze_recovery", "accuracy"
    }  # fmt: skip


def test_other_faults_are_a_quarter_of_the_kills_unless_given():
    assert counts_of(9, None, 1) == {Kind.KILL: 9, Kind.FREEZE: 3, Kind.DISCONNECT: 1}
    assert counts_of(8, 0, None) == {Kind.KILL: 8, Kind.FREEZE: 0, Kind.DISCONNECT: 2}


def test_gates_are_met_by_a_run_without_failures():
    faults = [effect(Kind.KILL, "peer-3", 1.9), effect(Kind.KILL, "peer-0", 0.1), effect(Kind.FREEZE, "peer-0", 4.0)]
    found = figures(TRAINING, Outcome(effects=faults, accuracy=0.99), Outcome(accuracy=1.0))
    assert all(found["gates"].values())
    assert found["kills"] == 2
    assert found["kills_with_workers"] == 1
    assert found["recovery_seconds"]["kill"] == {"median": 1.9, "p95": 1.9, "max": 1.9}
    assert found["restart_seconds"]["max"] == 1.0
    assert figures(TRAINING, Outcome(accuracy=0.9), Outcome(accuracy=0.8))["ratio"] == 1.125


@pytest.mark.parametrize(
    ("gate", "changed"),
    [
        ("hangs", {"hangs": ["peer-1 did not finish"]}),
        ("diverged", {"diverged": ["closing models"]}),
        ("lost_rounds", {"lost": 1}),
        ("kill_recovery", {"effects": [effect(Kind.KILL, "peer-0", 2.1)]}),
        ("freeze_recovery", {"effects": [effect(Kind.FREEZE, "peer-0", 4.1)]}),
        ("accuracy", {"accuracy": 0.97}),
        ("accuracy", {"accuracy": None}),
    ],
)
def test_each_gate_can_be_missed(gate: str, changed: dict[str, object]):
    faults = [effect(Kind.KILL, "peer-0", 0.1), effect(Kind.FREEZE, "peer-0", 3.0)]
    outcome = Outcome(**{"effects": faults, "accuracy": 1.0} | changed)
    gates = figures(TRAINING, outcome, Outcome(accuracy=1.0))["gates"]
    assert gates[gate] is False


def test_a_peer_that_does_not_contribute_again_hung():
    assert effect(Kind.KILL, "peer-0", 0.1, contributed=None).hung
    assert effect(Kind.KILL, "peer-0", None).hung
    assert not effect(Kind.KILL, "peer-0", 0.1).hung
    assert effect(Kind.KILL, "peer-0", 0.1).absence == 1.0


def test_a_log_line_says_what_a_fault_caused():
    assert str(effect(Kind.KILL, "peer-0", 0.1)) == (
        "kill peer-0: the others recovered after 0.10 s, it contributed after 1.00 s"
    )
    assert str(effect(Kind.FREEZE, "peer-1", None, None)).endswith("recovered never, it contributed never")


def test_failures_are_counted_by_what_they_cost_and_faults_by_when_they_came():
    def event(what: What, at: float = 9.0, **fields: object) -> Event:
        return Event(peer="peer-0", pid=1, at=at, what=what, **fields)

    events = [
        event(What.FAILED, reason="round 3 aborted: peer-1 left"),
        event(What.FAILED, reason="no merge: too few peers"),
        event(What.FAILED, reason="no merge: too few peers"),
        event(What.EXCHANGES, at=9.5, round=3),
    ]
    faults = [effect(Kind.KILL, "peer-0", 0.1), effect(Kind.KILL, "peer-1", 0.3)]
    found = figures(TRAINING, Outcome(effects=faults, events=events), Outcome())
    assert (found["aborted_reports"], found["skipped_syncs"], found["mid_round"]) == (1, 2, 1)
    assert (found["ratio"], found["accuracy"]) == (None, None)
    assert found["recovery_seconds"]["kill"] == {"median": 0.3, "p95": 0.3, "max": 0.3}


def test_the_accuracy_is_the_lowest_of_all_peers_with_the_closing_model():
    def closed(peer: str, accuracy: float, *, closing: bool = True) -> list[Event]:
        given = {"peer": peer, "pid": 1, "at": 1.0}
        return [
            Event(what=What.CLOSED, closing=closing, **given),
            Event(what=What.DONE, accuracy=accuracy, **given),
        ]

    assert closing_accuracy([*closed("ada", 0.9), *closed("bob", 0.8)], ("ada", "bob")) == 0.8
    assert closing_accuracy([*closed("ada", 0.9), *closed("bob", 0.8, closing=False)], ("ada", "bob")) is None
    assert closing_accuracy(closed("ada", 0.9), ("ada", "bob")) is None


def test_journals_are_kept_only_if_something_is_odd(tmp_path, capsys):
    (tmp_path / "odd").mkdir()
    keep_if_odd(tmp_path / "odd", Outcome(), Outcome(errors=["peer-0: Traceback"]))
    assert (tmp_path / "odd").exists()
    assert f"peer-0: Traceback\njournals and logs are kept in {tmp_path / 'odd'}" in capsys.readouterr().err
    keep_if_odd(tmp_path / "odd", Outcome(), Outcome())
    assert not (tmp_path / "odd").exists()

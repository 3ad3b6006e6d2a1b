from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.chaos.run import Outcome
from benchmarks.chaos.summary import record
from benchmarks.fleet.faults import Fault, Kind, Struck
from benchmarks.fleet.processes import Training

pytest.importorskip("torch")
pytest.importorskip("mlxtend")

ROOT = Path(__file__).parents[2]
TRAINING = Training(peers=4, seed=0, hidden=8, sync_interval=4, pause=0.0, failure_timeout=3.0, with_workers=2)


def struck(kind: Kind, victim: str, recovery: float | None, contributed: float | None = 12.0) -> Struck:
    fault = Fault(kind=kind, victim=victim, phase=0.5, hold=0.5)
    return Struck(fault=fault, at=10.0, recovery=recovery, back=11.0, contributed=contributed)


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


def test_gates_are_met_by_a_run_without_blemish():
    faults = [struck(Kind.KILL, "peer-3", 1.9), struck(Kind.KILL, "peer-0", 0.1), struck(Kind.FREEZE, "peer-0", 4.0)]
    found = record(TRAINING, Outcome(struck=faults, accuracy=0.99), Outcome(accuracy=1.0))
    assert all(found["gates"].values())
    assert found["kills"] == 2
    assert found["kills_with_workers"] == 1
    assert found["recovery_seconds"]["kill"] == {"median": 1.9, "p95": 1.9, "max": 1.9}
    assert found["restart_seconds"]["max"] == 1.0


@pytest.mark.parametrize(
    ("gate", "changed"),
    [
        ("hangs", {"hangs": ["peer-1 did not finish"]}),
        ("diverged", {"diverged": ["closing models"]}),
        ("lost_rounds", {"lost": 1}),
        ("kill_recovery", {"struck": [struck(Kind.KILL, "peer-0", 2.1)]}),
        ("freeze_recovery", {"struck": [struck(Kind.FREEZE, "peer-0", 4.1)]}),
        ("accuracy", {"accuracy": 0.97}),
        ("accuracy", {"accuracy": None}),
    ],
)
def test_each_gate_can_be_missed(gate: str, changed: dict[str, object]):
    faults = [struck(Kind.KILL, "peer-0", 0.1), struck(Kind.FREEZE, "peer-0", 3.0)]
    outcome = Outcome(**{"struck": faults, "accuracy": 1.0} | changed)
    gates = record(TRAINING, outcome, Outcome(accuracy=1.0))["gates"]
    assert gates[gate] is False


def test_one_that_never_came_back_hung():
    assert struck(Kind.KILL, "peer-0", 0.1, contributed=None).hung
    assert struck(Kind.KILL, "peer-0", None).hung
    assert not struck(Kind.KILL, "peer-0", 0.1).hung

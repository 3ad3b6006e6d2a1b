from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.fleet.faults import Effect, Fault, Kind
from benchmarks.fleet.processes import Training
from benchmarks.fleet.training import Outcome
from benchmarks.fleet.usage import QUANTITIES, Sample, growth, sample, size, within
from benchmarks.merge import counters
from benchmarks.soak import BOUNDS, figures, random_faults

pytest.importorskip("torch")
pytest.importorskip("mlxtend")

ROOT = Path(__file__).parents[2]


def samples(memory_per_second: float) -> list[Sample]:
    return [
        Sample(at=100.0 + at, memory=1e6 + memory_per_second * at, threads=5.0, descriptors=9.0, disk=0.0)
        for at in range(101)
    ]


def test_a_short_soak_of_real_peers():
    command = [sys.executable, "-m", "benchmarks.soak", "--json", "--minutes", "0.05", "--peers", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["hangs"], found["diverged"]) == (0, 0)
    assert found["rounds"] > 0
    assert set(found["growth"]) == {"peer-0", "peer-1", "peer-2"}
    assert set(found["bounds"]) == {"memory", "threads", "descriptors", "disk"}
    assert set(found["gates"]) == {"hangs", "diverged", "memory", "threads", "descriptors", "disk"}


def test_growth_compares_the_ends_and_leaves_the_warm_up_out():
    found = growth(samples(memory_per_second=10.0), "memory", warmup=50.0)
    assert found == {"first": 1000550.0, "last": 1000950.0, "most": 1001000.0, "per_hour": 36000.0}
    steady = growth(samples(memory_per_second=10.0), "threads", warmup=50.0)
    assert steady == {"first": 5.0, "last": 5.0, "most": 5.0, "per_hour": 0.0}


def test_too_few_samples_say_nothing():
    assert growth([], "memory", warmup=0.0) is None
    assert growth(samples(1.0)[:5], "memory", warmup=0.0) is None
    assert growth(samples(1.0), "memory", warmup=200.0) is None


def test_what_grows_beyond_its_bound_is_found():
    limit = BOUNDS["memory"]
    leaking, steady = (growth(samples(slope), "memory", warmup=0.0) for slope in (limit / 50, limit / 100))
    assert leaking is not None
    assert steady is not None
    assert not within(leaking, limit)
    assert within(steady, limit)


def test_a_process_and_a_directory_are_measured(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_bytes(b"x" * 1000)
    taken = sample(1.0, os.getpid(), tmp_path)
    assert taken is not None
    assert taken.disk == size(tmp_path) == 1000
    assert taken.memory == pytest.approx(counters.resident(), rel=0.1)
    assert taken.threads >= 1
    assert taken.descriptors >= 3
    assert size(tmp_path / "nowhere") == 0


def test_a_process_that_has_ended_has_no_sample(tmp_path):
    over = subprocess.Popen([sys.executable, "-c", ""])
    assert over.wait(60) == 0
    assert sample(1.0, over.pid, tmp_path) is None


TRAINING = Training(peers=4, seed=0, hidden=8, sync_interval=4, pause=0.0, failure_timeout=3.0)


def test_only_spared_peers_count_except_for_the_disk_and_each_gate_can_be_missed():
    fault = Fault(kind=Kind.KILL, victim="peer-3", phase=0.5, hold=0.5)
    effect = Effect(fault=fault, at=1.0, recovery=1.0, back=2.0, contributed=3.0)
    leaking = dict.fromkeys(("peer-2", "peer-3"), samples(memory_per_second=1e6))
    found = figures(TRAINING, Outcome(effects=[effect]), {"peer-0": samples(0.0), **leaking}, minutes=2.0)
    assert found["gates"] == dict.fromkeys(("hangs", "diverged", *QUANTITIES), True)
    assert found["growth"]["peer-3"]["memory"] is None
    assert found["growth"]["peer-3"]["disk"] is not None
    assert found["faults"] == {"kill": 1}
    odd = Outcome(hangs=["peer-0 did not finish"], diverged=["closing models"])
    found = figures(TRAINING, odd, {"peer-1": samples(memory_per_second=1e6)}, minutes=2.0)
    assert (found["gates"]["hangs"], found["gates"]["diverged"], found["gates"]["memory"]) == (False, False, False)
    assert figures(TRAINING, Outcome(), {}, minutes=2.0)["gates"]["threads"] is None


def test_random_faults_kill_no_spared_peer_and_end_in_time(monkeypatch):
    class Clocked:
        training, now = TRAINING, 0.0

        def run_for(self, seconds: float) -> None:
            self.now += seconds

    fleet = Clocked()
    monkeypatch.setattr("benchmarks.soak.time.monotonic", lambda: fleet.now)
    faults = list(random_faults(fleet, seconds=600.0, every=2.0, seed=1))
    assert 200 < len(faults) < 400
    assert fleet.now == pytest.approx(600.0)
    assert {fault.victim for fault in faults if fault.kind is Kind.KILL} == {"peer-2", "peer-3"}
    assert {fault.victim for fault in faults if fault.kind is Kind.FREEZE} == set(TRAINING.names)

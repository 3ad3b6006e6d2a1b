"""Writes ``byzfl_values.json``: what the library ByzFL makes of random vectors of equal weight.

ByzFL is not a dependency of the tests. To write the file again, in an environment of its own::

    python -m venv /tmp/byzfl && /tmp/byzfl/bin/pip install numpy scipy torch
    /tmp/byzfl/bin/pip install --no-deps byzfl==0.0.11
    /tmp/byzfl/bin/python tests/merge/byzfl_values.py

Only its aggregators are imported. The package itself also imports its training code, with more dependencies.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

CASES = ((3, 2, 1), (5, 4, 1), (8, 3, 2), (11, 6, 2), (11, 4, 5))
"""Number of vectors, their length, and how many of them may be bad."""
CONVERGED = {"nu": 1e-12, "T": 2000}
"""The geometric median, and not a few steps towards it."""


def aggregators() -> Any:
    """The module with ByzFL's rules."""
    spec = find_spec("byzfl")
    if spec is None or spec.submodule_search_locations is None:
        raise SystemExit("byzfl is not installed")
    package = ModuleType("byzfl")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["byzfl"] = package
    return import_module("byzfl.aggregators")


def values(rules: Any, count: int, length: int, bad: int, seed: int) -> dict[str, Any]:
    """One case: vectors around 1, of which ``bad`` are far away, and what the rules make of them."""
    rng = np.random.default_rng(seed)
    vectors = 1 + rng.standard_normal((count, length))
    vectors[:bad] *= -10

    def of(rule: Any, given: Any = vectors) -> Any:
        return rule(given.copy())  # some rules change what they are given

    norm = sorted(np.linalg.norm(vectors, axis=1))[(count - 1) // 2]
    centre, clipping = np.zeros(length), rules.CenteredClipping()
    for _ in range(3):  # it goes on from its last result
        clipping.tau = sorted(np.linalg.norm(vectors - centre, axis=1))[(count - 1) // 2]
        centre = of(clipping)
    mixed = of(rules.NNM(bad))
    found = {
        "mean": of(rules.Average()),
        "coordmedian": of(rules.Median()),
        "geomedian": of(rules.GeometricMedian(**CONVERGED)),
        "trimmed_mean": of(rules.TrMean(bad)),
        "norm_clip": of(rules.Average(), of(rules.Clipping(norm))),
        "centered_clip": centre,
        "nnm": of(rules.GeometricMedian(**CONVERGED), mixed),
        "mixtures": mixed,
    }
    if count >= 2 * bad + 3:
        found["multikrum"] = of(rules.MultiKrum(bad))
    return {"bad": bad, "vectors": vectors.tolist(), "values": {name: each.tolist() for name, each in found.items()}}


if __name__ == "__main__":
    rules = aggregators()
    cases = [values(rules, *case, seed) for seed, case in enumerate(CASES)]
    Path(__file__).with_suffix(".json").write_text(json.dumps(cases, indent=1) + "\n", encoding="utf-8")

"""The record of merged numbers, some of which no honest site sends."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.errors import ExchangeError
from swarm.pooling.record import record_of


def merged(**changed):
    """Two sites of 20 samples each, two features, two classes."""
    values = {
        "sites": [0.5, 0.5],
        "sites_of_squares": [0.5, 0.5],
        "samples": [20.0],
        "count": [20.0, 10.0],
        "sum": [60.0, 0.0],
        "squares": [80.0, 0.0],
        "classes": [15.0, 5.0],
        "withheld": [0.0, 0.5],
        "stage": [2],
    }
    return {name: np.array(value) for name, value in (values | changed).items()}


def record(**changed):
    return record_of(merged(**changed), ("ada", "bob"), (2,), columns=None, classes=["x", "y"], digest="d")


def test_sums_are_those_of_all_sites():
    stats = record()
    assert (stats.samples, stats.sites, stats.digest) == (40, ("ada", "bob"), "d")
    assert stats.count.tolist() == [40, 20]
    assert stats.mean.tolist() == [3.0, 0.0]
    assert stats.std.tolist() == [2.0, 0.0]
    assert stats.classes == {"x": 30, "y": 10}
    assert stats.withheld == {"x": 0, "y": 1}


def test_a_site_that_contributes_to_one_round_only_is_named():
    with pytest.raises(ExchangeError, match="not complete: bob contributed to one of two rounds only"):
        record(sites_of_squares=[1.0, 0.0])


@pytest.mark.parametrize(
    "changed",
    [
        {"sites": [0.5, 1.5]},
        {"samples": [-1.0]},
        {"samples": [1e300]},
        {"count": [21.0, 1.0]},
        {"count": [-5.0, 1.0]},
        {"classes": [1e308, 1.0]},
        {"withheld": [2.0, 0.0]},
        {"squares": [-1.0, 0.0]},
        {"squares": [1.7e308, 0.0]},
        {"sum": [1.7e308, 0.0]},
    ],
)
def test_impossible_numbers_are_refused(changed):
    with pytest.raises(ExchangeError, match="cannot be; a site lies or is broken"):
        record(**changed)

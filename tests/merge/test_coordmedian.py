"""Weighted coordinate median."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from swarm.merge import CoordinateMedian

median = CoordinateMedian().merge


@pytest.mark.parametrize(
    ("values", "weights", "expected"),
    [
        ((1, 4, 7), (1, 1, 1), 4),
        ((1, 2, 4, 100), (1, 1, 1, 1), 3),
        ((7, 1, 4), (1, 1, 5), 4),
        ((1, 2, 9), (1, 1, 2), 5.5),
        ((1, 2, 9), (1, 1, 3), 9),
        ((1, 9), (50, 50), 5),
        ((1, 9), (50, 49), 1),
    ],
)
def test_weighted_median(values: tuple[int, ...], weights: tuple[int, ...], expected: float) -> None:
    assert median([np.array([value], np.float32) for value in values], weights)[0] == expected


@given(
    rows=hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.floats(-(2.0**99), 2.0**99, width=32),
    )
)
@settings(derandomize=True, deadline=None)
def test_equal_weights_give_the_median_of_numpy(rows: np.ndarray) -> None:
    np.testing.assert_array_equal(median(list(rows), [3] * len(rows)), np.median(rows, axis=0))


@given(
    values=st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=9),
    data=st.data(),
)
@settings(derandomize=True, deadline=None)
def test_weights_count_as_copies_exactly(values: list[float], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(1, 20), min_size=len(values), max_size=len(values)))
    weighted = median([np.array([value]) for value in values], weights)
    assert weighted[0] == np.median(np.repeat(values, weights))


def test_minority_cannot_leave_the_range_of_the_rest() -> None:
    rng = np.random.default_rng(0)
    honest = rng.standard_normal((4, 1000)).astype(np.float32)
    hostile = np.full((3, 1000), 1e30, np.float32)
    merged = median([*hostile, *honest], (1,) * 7)
    assert (honest.min(axis=0) <= merged).all()
    assert (merged <= honest.max(axis=0)).all()

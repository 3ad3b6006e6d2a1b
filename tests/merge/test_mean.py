"""Weighted mean: values, exactness and speed-relevant block edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.merge import WeightedMean
from swarm.merge.blocks import CACHED_ELEMENTS
from swarm.state import WEIGHT_DTYPES, numpy_dtype

mean = WeightedMean().merge


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_mean_of_three(dtype: str) -> None:
    columns = [np.array(row, numpy_dtype(dtype)) for row in ([1, 2, 3], [4, 5, 6], [7, 8, 9])]
    assert mean(columns, (1, 1, 1)).tolist() == [4, 5, 6]
    assert mean(columns, (2, 1, 1)).tolist() == [3.25, 4.25, 5.25]


@pytest.mark.parametrize("size", [1, CACHED_ELEMENTS - 1, CACHED_ELEMENTS, 2 * CACHED_ELEMENTS + 1])
def test_equals_the_plain_formula_to_the_bit(size: int) -> None:
    rng = np.random.default_rng(0)
    weights = (3, 100, 1, 17)
    columns = [rng.standard_normal(size).astype(np.float32) for _ in weights]
    total = sum(weight * column.astype(np.float64) for weight, column in zip(weights, columns, strict=True))
    assert mean(columns, weights).tobytes() == (total / sum(weights)).astype(np.float32).tobytes()


def test_is_rounded_only_once() -> None:
    """Summed in float32, the small value would be lost against the large ones."""
    columns = [np.array([value], np.float32) for value in (2.0**30, 1.0, -(2.0**30))]
    assert mean(columns, (1, 1, 1))[0] == np.float32(1 / 3)


@given(
    value=st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300),
    weights=st.lists(st.integers(1, 100), min_size=1, max_size=64),
)
@settings(derandomize=True, deadline=None, max_examples=200)
def test_equal_float64_values_survive_any_weights(value: float, weights: list[int]) -> None:
    columns = [np.array([value])] * len(weights)
    assert mean(columns, weights).tobytes() == columns[0].tobytes()


@given(
    value=st.floats(allow_nan=False, allow_infinity=False, width=32),
    weights=st.lists(st.integers(1, 100), min_size=1, max_size=64),
)
@settings(derandomize=True, deadline=None, max_examples=200)
def test_equal_float32_values_survive_any_weights(value: float, weights: list[int]) -> None:
    columns = [np.array([value], np.float32)] * len(weights)
    assert mean(columns, weights).tobytes() == columns[0].tobytes()

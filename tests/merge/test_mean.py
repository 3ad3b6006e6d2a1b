"""Weighted mean: values, exactness and speed-relevant block edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.merge import WeightedMean
from swarm.merge.blocks import CACHED_ELEMENTS
from swarm.tensors.state import WEIGHT_DTYPES, numpy_dtype

mean = WeightedMean().merge


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_mean_of_three(dtype: str) -> None:
    columns = [np.array(row, numpy_dtype(dtype)) for row in ([1, 2, 3], [4, 5, 6], [7, 8, 9])]
    assert mean(columns, (1, 1, 1)).tolist() == [4, 5, 6]
    assert mean(columns, (2, 1, 1)).tolist() == [3.25, 4.25, 5.25]


@pytest.mark.parametrize("size", [1, CACHED_ELEMENTS - 1, CACHED_ELEMENTS, 2 * CACHED_ELEMENTS + 1])
@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (3, 100, 1, 17)])
def test_equals_the_plain_formula_to_the_bit(size: int, weights: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    columns = [rng.standard_normal(size).astype(np.float32) for _ in weights]
    heaviest = weights.index(max(weights))
    origin = columns[heaviest]
    offset = np.zeros_like(origin)
    if len(set(weights)) == 1:
        for column in columns[1:]:
            offset += origin - column
        offset *= np.float32(weights[0] / sum(weights))
    else:
        for index, (column, weight) in enumerate(zip(columns, weights, strict=True)):
            if index != heaviest:
                offset += (origin - column) * np.float32(weight / sum(weights))
    assert mean(columns, weights).tobytes() == (origin - offset).tobytes()


@pytest.mark.parametrize("count", [2, 8, 64])
def test_of_peers_that_lie_close_together_is_exact_but_for_the_last_rounding(count: int) -> None:
    """The error of float32 is relative to the differences, far below the last digit of the weights."""
    rng = np.random.default_rng(1)
    model = rng.uniform(1.1, 1.9, 10_000)
    columns = [(model + 1e-3 * rng.standard_normal(model.size)).astype(np.float32) for _ in range(count)]
    exact = np.mean([column.astype(np.float64) for column in columns], axis=0)
    ulp = 2.0**-23
    assert np.abs(mean(columns, (1,) * count) - exact).max() <= 0.51 * ulp


@pytest.mark.parametrize("weights", [(1, 1, 1), (100, 1, 1)])
def test_of_the_largest_values_does_not_overflow(weights: tuple[int, ...]) -> None:
    largest = float(np.finfo(np.float32).max)
    columns = [np.array([value, 1], np.float32) for value in (largest, -largest, largest)]
    exact = largest * (weights[0] - weights[1] + weights[2]) / sum(weights)
    assert mean(columns, weights).tolist() == pytest.approx([exact, 1])


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

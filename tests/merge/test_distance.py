"""Squared distances, also where squares leave the range of float32."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from swarm.merge.blocks import CACHED_ELEMENTS
from swarm.merge.distance import squared_distance

SIZES = [0, 1, 1000, CACHED_ELEMENTS, CACHED_ELEMENTS + 1, 2 * CACHED_ELEMENTS + 3]
DTYPES = [np.float64, np.float32, np.float16, ml_dtypes.bfloat16]


def exact(values: np.ndarray, origin: np.ndarray | None) -> float:
    wide = values.astype(np.longdouble) - (0 if origin is None else origin.astype(np.longdouble))
    return float(np.square(wide).sum())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_the_distance_from_a_model_and_from_zero(size: int, dtype: type[np.generic], scale: float) -> None:
    rng = np.random.default_rng(size)
    values, origin = ((scale * rng.standard_normal(size)).astype(dtype) for _ in range(2))
    for other in (None, origin):
        assert squared_distance(values, other) == pytest.approx(exact(values, other), rel=1e-4)


@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_squares_that_overflow_are_summed_in_double(size: int, dtype: type[np.generic]) -> None:
    values, origin = np.full(size, 1e30).astype(dtype), np.full(size, -2e30).astype(dtype)
    for other in (None, origin):
        assert squared_distance(values, other) == pytest.approx(exact(values, other), rel=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_finite_has_no_distance(bad: float, dtype: type[np.generic]) -> None:
    values = np.zeros(CACHED_ELEMENTS + 10).astype(dtype)
    values[-1] = bad
    for other in (None, np.ones_like(values)):
        assert not np.isfinite(squared_distance(values, other))

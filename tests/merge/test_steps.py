"""Normalised averaging: contributions as if all peers had made as many steps."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from swarm.merge import BUILTIN_RULES
from swarm.merge.steps import MOST, scaled, step_factors


def test_the_mean_is_that_of_fednova() -> None:
    rng = np.random.default_rng(0)
    origin, contributions = rng.normal(size=50), rng.normal(size=(3, 50))
    weights, steps = [1, 2, 5], [10, 30, 25]
    factors = step_factors(weights, steps)
    taken = [scaled(values, origin, factor) for values, factor in zip(contributions, factors, strict=True)]
    shares = np.array(weights) / sum(weights)
    usual = float(shares @ steps)
    expected = origin + usual * sum(
        share * (values - origin) / count for share, values, count in zip(shares, contributions, steps, strict=True)
    )
    assert BUILTIN_RULES["mean"].merge(taken, weights) == pytest.approx(expected)


def test_as_many_steps_change_nothing_to_the_bit() -> None:
    assert step_factors([1, 3, 2], [7, 7, 7]) == (1.0, 1.0, 1.0)
    values = np.ones(3, np.float32)
    assert scaled(values, np.zeros(3, np.float32), 1.0) is values


def test_a_contribution_without_new_steps_stays_and_does_not_count() -> None:
    assert step_factors([1, 1, 5], [10, 30, 0]) == (2.0, pytest.approx(2 / 3), 1.0)
    assert step_factors([1, 2], [0, 0]) == (1.0, 1.0)


def test_one_false_number_of_steps_hardly_scales_the_others() -> None:
    factors = step_factors([1] * 5, [10, 10, 10, 10, 2**40])
    assert factors[:4] == ((4 + MOST) / 5,) * 4
    assert factors[4] < 1e-9


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("factor", [0.25, 3.0])
def test_what_is_scaled_is_rounded_once(dtype: type, factor: float) -> None:
    rng = np.random.default_rng(1)
    origin = rng.normal(size=400).astype(dtype)
    values = (origin.astype(np.float64) + 0.1 * rng.normal(size=400)).astype(dtype)
    exact = origin.astype(np.float64) + factor * (values.astype(np.float64) - origin.astype(np.float64))
    step = float(ml_dtypes.finfo(dtype).eps)
    assert np.abs(scaled(values, origin, factor).astype(np.float64) - exact).max() <= step * np.abs(exact).max()
    assert scaled(origin, origin, factor).tobytes() == origin.tobytes()

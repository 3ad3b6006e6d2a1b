"""The sorting network behind the coordinate median."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest

from swarm.merge import CoordinateMedian
from swarm.merge.network import flip, median_network, middle


@pytest.mark.parametrize("count", range(1, 13))
def test_the_middle_of_every_row_of_zeros_and_ones_is_found(count: int) -> None:
    """By the zero-one principle (Knuth, TAOCP 3, 5.3.4), a network that orders these orders everything."""
    rows = np.array(list(itertools.product((0, 1), repeat=count)), np.int32).T.copy()
    ordered = np.sort(rows, axis=0)
    lower, upper = middle(rows)
    assert (lower == ordered[(count - 1) // 2]).all()
    assert (upper == ordered[count // 2]).all()


@pytest.mark.parametrize("count", [31, 64])
def test_large_groups(count: int) -> None:
    rows = np.random.default_rng(0).integers(-1000, 1000, (count, 500), np.int32)
    ordered = np.sort(rows, axis=0)
    lower, upper = middle(rows)
    assert (lower == ordered[(count - 1) // 2]).all()
    assert (upper == ordered[count // 2]).all()


def test_what_the_middle_does_not_depend_on_is_left_out() -> None:
    assert len(median_network(8)) < 19  # of the whole sort


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_integers_order_as_the_numbers_they_were_made_of(dtype: type[np.generic]) -> None:
    values = np.array([-np.inf, -3.5, -1e-7, -0.0, 0.0, 1e-7, 2, np.inf]).astype(dtype)
    bits = values.view(f"i{values.itemsize}").copy()
    flip(bits)
    assert (np.diff(bits.astype(object)) > 0).all()
    flip(bits)
    assert bits.tobytes() == values.tobytes()


def test_zeros_of_both_signs_have_one_order() -> None:
    columns = [np.array([value], np.float32) for value in (0.0, -0.0, 0.0)]
    for order in itertools.permutations(columns):
        assert np.signbit(CoordinateMedian().merge(order, (1, 1, 1))).tolist() == [False]

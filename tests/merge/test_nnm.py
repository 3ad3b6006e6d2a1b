"""Nearest-neighbour mixing."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.merge import GeometricMedian, NearestNeighbourMixing

POINTS = np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])


def test_the_mixtures_of_three_points() -> None:
    mixtures = NearestNeighbourMixing(1 / 3).mixtures(POINTS @ POINTS.T, (1, 1, 1))
    np.testing.assert_allclose(mixtures @ POINTS, [[2.5, 3.5, 4.5], [2.5, 3.5, 4.5], [5.5, 6.5, 7.5]])


def test_the_weight_of_the_furthest_neighbour_is_divided() -> None:
    points = np.array([[0.0], [1], [3]])
    mixtures = NearestNeighbourMixing(0.25).mixtures(points @ points.T, (2, 1, 1))
    np.testing.assert_allclose(mixtures, [[2 / 3, 1 / 3, 0], [2 / 3, 1 / 3, 0], [1 / 3, 1 / 3, 1 / 3]])
    mixtures = NearestNeighbourMixing(0.25).mixtures(points @ points.T, (1, 1, 8))
    np.testing.assert_allclose(mixtures, [[1 / 7.5, 1 / 7.5, 5.5 / 7.5], [1 / 7.5, 1 / 7.5, 5.5 / 7.5], [0, 0, 1]])


def test_it_is_the_geometric_median_of_the_mixtures() -> None:
    points = np.random.default_rng(0).standard_normal((9, 4))
    rule = NearestNeighbourMixing()
    mixed = rule.mixtures(points @ points.T, (1,) * 9) @ points
    expected = GeometricMedian().merge(list(mixed), (1,) * 9)
    np.testing.assert_allclose(rule.merge(list(points), (1,) * 9), expected, rtol=1e-6)


@pytest.mark.parametrize("size", [10, 1e9])
def test_up_to_the_share_have_no_part_in_the_mixtures_of_the_others(size: float) -> None:
    rng = np.random.default_rng(0)
    points = rng.standard_normal((8, 50))
    points[:2] += size
    mixtures = NearestNeighbourMixing().mixtures(points @ points.T, (1,) * 8)
    assert not mixtures[2:, :2].any()
    assert np.abs(NearestNeighbourMixing().merge(list(points), (1,) * 8)).max() < 3


@pytest.mark.parametrize("share", [0, 0.5])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="above 0 and below 0.5"):
        NearestNeighbourMixing(share)

"""The geometric median and its Gram matrix."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.merge import GeometricMedian
from swarm.merge.gram import combine, partial_gram

rule = GeometricMedian()


def merged(points: object, weights: tuple[int, ...] | None = None) -> np.ndarray:
    rows = np.array(points, np.float64)
    return rule.merge(list(rows), weights or (1,) * len(rows))


@pytest.mark.parametrize(
    ("points", "weights", "expected"),
    [
        ([[1, 2, 3], [4, 5, 6], [7, 8, 9]], None, [4, 5, 6]),
        ([[0, 0], [0, 1], [1, 0], [1, 1], [100, 100]], None, [0.788675, 0.788675]),
        ([[0, 0], [4, 0], [0, 3]], None, [0.695789, 0.751176]),
        ([[0, 0], [4, 0], [0, 3]], (5, 1, 1), [0, 0]),
        ([[0, 0], [4, 0], [0, 3]], (1, 5, 1), [4, 0]),
        ([[1, 1], [3, 5]], None, [2, 3]),
        ([[7, 8]], (9,), [7, 8]),
        ([[2, 2], [2, 2], [9, 9], [2, 2]], None, [2, 2]),
    ],
)
def test_known_medians(points: object, weights: tuple[int, ...] | None, expected: list[float]) -> None:
    np.testing.assert_allclose(merged(points, weights), expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_no_step_away_from_the_result_shortens_the_distances(seed: int) -> None:
    """The defining property, checked on the vectors, without a second implementation."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((7, 5)) * rng.uniform(0.1, 3, (7, 1))
    weights = rng.integers(1, 101, 7)

    def cost(point: np.ndarray) -> float:
        return float(weights @ np.linalg.norm(points - point, axis=1))

    best = merged(points, tuple(weights.tolist()))
    steps = [1e-3 * step for step in rng.standard_normal((200, 5))]
    assert all(cost(best) <= cost(best + step) for step in steps)


@pytest.mark.parametrize("size", [1e3, 1e10, 1e20, 1e30])
@pytest.mark.parametrize("hostile", [[0], [5], [0, 1, 2, 3], [3, 4, 5, 6]], ids=str)
def test_minority_is_bounded_however_far_away(hostile: list[int], size: float) -> None:
    """Also at the first position, which must not be the origin of the distances."""
    rng = np.random.default_rng(1)
    points = rng.standard_normal((9, 300)).astype(np.float32)
    honest = np.delete(points, hostile, axis=0)
    points[hostile] = size
    result = rule.merge(list(points), (1,) * 9).astype(np.float64)
    furthest = np.linalg.norm(honest - honest.mean(axis=0), axis=1).max()
    share = len(hostile) / 9
    assert np.linalg.norm(result - honest.mean(axis=0)) <= 2 * (1 - share) / (1 - 2 * share) * furthest


def test_coefficients_depend_on_distances_only() -> None:
    rng = np.random.default_rng(2)
    points = rng.standard_normal((5, 40))
    weights = (1, 2, 3, 4, 5)
    centred = rule.coefficients(points @ points.T, weights)
    moved = points + rng.standard_normal(40)
    np.testing.assert_allclose(rule.coefficients(moved @ moved.T, weights), centred, atol=1e-9)
    assert centred.sum() == pytest.approx(1)
    assert (centred >= 0).all()


def test_parts_of_the_gram_matrix_add_up_to_the_distances() -> None:
    rng = np.random.default_rng(3)
    rows = (1000 + rng.standard_normal((4, 50_000))).astype(np.float32)
    gram = sum(partial_gram(list(part)) for part in np.split(rows, [0, 17, 40_000], axis=1))
    assert isinstance(gram, np.ndarray)
    norms = gram.diagonal()
    wide = rows.astype(np.float64)
    expected = ((wide[:, None] - wide) ** 2).sum(axis=2)
    np.testing.assert_allclose(norms + norms[:, None] - 2 * gram, expected, rtol=1e-6, atol=1e-7)


def squares(gram: np.ndarray) -> np.ndarray:
    """The squared distances that an inner product of each pair stands for."""
    norms = gram.diagonal()
    return norms + norms[:, None] - 2 * gram


def exact_squares(rows: np.ndarray) -> np.ndarray:
    wide = rows.astype(np.float64)
    return np.square(wide[:, None] - wide).sum(axis=2)


@pytest.mark.parametrize("far", [1e3, -1e3, 1e8, 1e30, -1e30])
@pytest.mark.parametrize("places", [[0], [3], [0, 1], [3, 4]], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_small_distances_survive_a_minority_that_is_far_away(far: float, places: list[int], dtype: str) -> None:
    """Whichever places it has, on either side of the others, and also where squares overflow float32."""
    rng = np.random.default_rng(4)
    rows = rng.standard_normal((5, 20_000)).astype(dtype)
    rows[places] = far
    near = np.delete(np.arange(5), places)
    measured = squares(partial_gram(list(rows)))[np.ix_(near, near)]
    np.testing.assert_allclose(measured, exact_squares(rows[near]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("spread", [0.1, 0.03, 0.01, 0.003, 0.001])
def test_distances_have_their_digits_however_close_the_contributions_are(spread: float) -> None:
    """All but the first one, which the others' distances must then not be computed from."""
    rows = 1 + spread * np.random.default_rng(6).standard_normal((5, 20_000))
    rows[0] = 0
    rows = rows.astype(np.float32)
    measured = squares(partial_gram(list(rows)))
    np.testing.assert_allclose(measured, exact_squares(rows), rtol=4e-5, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_equal_contributions_have_no_distance_whatever_the_scale(scale: float) -> None:
    rng = np.random.default_rng(5)
    rows = (scale * rng.standard_normal((4, 5000))).astype(np.float32)
    rows[3] = rows[1]
    gram = partial_gram(list(rows))
    assert gram[1, 1] + gram[3, 3] - 2 * gram[1, 3] <= 1e-12 * gram.max()
    assert gram[0, 0] + gram[1, 1] - 2 * gram[0, 1] == pytest.approx(10_000 * scale**2, rel=0.1, abs=0)


def test_combination() -> None:
    columns = [np.array(row, np.float32) for row in ([1, 2], [3, 6], [5, 5])]
    np.testing.assert_array_equal(combine(columns, np.array([0.25, 0.5, 0.25])), np.array([3, 4.75], np.float32))


def test_combination_is_not_disturbed_by_a_far_column_of_tiny_weight() -> None:
    columns = [np.array([1e30]), np.array([1.5]), np.array([2.5])]
    np.testing.assert_allclose(combine(columns, np.array([1e-40, 0.5, 0.5])), [2.0], rtol=1e-9)


@pytest.mark.parametrize("error", [0.0, 1e-15, -1e-15])
def test_points_that_differ_by_rounding_errors_are_one_point(error: float) -> None:
    """Two of three points are one, so that it is the median, whatever their weights round to."""
    gram = np.array([[1.0, 1.0 + error, 3.0], [1.0 + error, 1.0, 3.0], [3.0, 3.0, 9.0]])
    coefficients = rule.coefficients(gram, (1, 1, 1))
    assert coefficients.tolist() == [0.5, 0.5, 0.0]


def test_a_point_with_half_of_the_weight_is_not_yet_the_median() -> None:
    gram = np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert rule.coefficients(gram, (3, 1, 1)).tolist() == [1.0, 0.0, 0.0]
    assert (rule.coefficients(gram, (2, 1, 1))[1:] > 0).all()


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_the_median_scales_with_the_points(scale: float) -> None:
    points = scale * np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 3.0]])
    np.testing.assert_allclose(merged(points) / scale, [0.695789, 0.751176], atol=1e-6)


def test_a_median_that_is_one_of_the_points_is_found() -> None:
    """On a line it always is; the distance to it is zero, and may come out below that."""
    for seed in range(300):
        rng = np.random.default_rng(seed)
        points = rng.integers(0, 50, rng.integers(3, 8)).astype(np.float64)
        weights = rng.integers(1, 6, len(points))
        coefficients = rule.coefficients(np.outer(points, points), tuple(weights.tolist()))
        assert coefficients.sum() == pytest.approx(1)
        best = min(weights @ np.abs(points - point) for point in points)
        assert weights @ np.abs(points - coefficients @ points) == pytest.approx(best, rel=1e-3)

"""Norm clipping and centered clipping, on vectors."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.merge import CenteredClipping, NormClipping, WeightedMean

RULES = [NormClipping(), CenteredClipping()]
POINTS = np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])


def clipped(points: np.ndarray, weights: tuple[int, ...], steps: int) -> np.ndarray:
    """The definition, on vectors, from a reference model of zeros."""
    centre = np.zeros(points.shape[1])
    copies = np.repeat(points, weights, axis=0)
    for _ in range(steps):
        apart = copies - centre
        norms = np.linalg.norm(apart, axis=1)
        radius = np.sort(norms)[(len(norms) - 1) // 2]
        factors = np.minimum(1, radius / np.maximum(norms, 1e-300)) if radius else norms == 0
        centre = centre + (apart * np.asarray(factors)[:, None]).mean(axis=0)
    return centre


@pytest.mark.parametrize(
    ("rule", "steps"), zip(RULES, (1, 3), strict=True), ids=lambda each: getattr(each, "name", each)
)
@pytest.mark.parametrize("seed", range(6))
def test_it_is_its_definition_on_vectors(rule: NormClipping, steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 9))
    points = rng.standard_normal((count, 5)) * rng.uniform(0.1, 20, (count, 1))
    weights = tuple(rng.integers(1, 6, count).tolist())
    reference = rng.standard_normal(5)
    merged = rule.merge([*(points + reference), reference], weights)
    np.testing.assert_allclose(merged - reference, clipped(points, weights, steps), rtol=1e-9, atol=1e-9)


def test_the_norm_of_a_clipped_update_is_the_median_one() -> None:
    """The first row of Clipping(2) in ByzFL is [0.53452248, 1.06904497, 1.60356745]: here two peers have the norm 2."""
    merged = NormClipping().merge([POINTS[0], np.array([0.0, 2, 0]), np.array([0.0, -2, 0]), np.zeros(3)], (1, 1, 1))
    np.testing.assert_allclose(3 * merged, [0.53452248, 1.06904497, 1.60356745], atol=1e-8)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_updates_of_one_norm_are_not_clipped(rule: NormClipping) -> None:
    points = [np.array([3.0, 4]), np.array([4.0, 3]), np.array([0.0, 5])]
    merged = NormClipping().merge([*points, np.zeros(2)], (2, 1, 1))
    np.testing.assert_array_equal(merged, WeightedMean().merge(points, (2, 1, 1)))
    alone = rule.merge([points[0], np.zeros(2)], (3,))
    np.testing.assert_array_equal(alone, points[0])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("size", [1e3, 1e9, 1e30])
def test_a_minority_moves_the_model_by_its_part_of_the_largest_honest_norm(rule: NormClipping, size: float) -> None:
    rng = np.random.default_rng(0)
    honest = rng.standard_normal((5, 300)).astype(np.float32)
    hostile = size * rng.standard_normal((2, 300)).astype(np.float32)
    zeros = np.zeros(300, np.float32)
    merged = rule.merge([*hostile, *honest, zeros], (1,) * 7)
    steps = {"norm_clip": 1, "centered_clip": 3}[rule.name]
    radius = 2 * np.linalg.norm(honest, axis=1).max()
    assert np.linalg.norm(merged - honest.mean(axis=0)) < steps * radius
    assert np.isfinite(merged).all()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_majority_that_has_not_moved_keeps_the_model(rule: NormClipping) -> None:
    start = np.array([1.5, -0.0, 0.0])
    merged = rule.merge([start, start, start + 1, start], (1, 1, 1))
    assert merged.tobytes() == start.tobytes()
    assert (rule.merge([start, start, start + 1, start], (1, 1, 3)) > start).all()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_reference_model_has_no_part_where_nothing_is_clipped(rule: NormClipping) -> None:
    points = np.eye(4)
    gram = np.zeros((5, 5))
    gram[:4, :4] = points @ points.T
    coefficients = NormClipping().coefficients(gram, (1, 2, 3, 4))
    assert coefficients[-1] == 0
    assert rule.coefficients(gram, (1, 2, 3, 4)).sum() == pytest.approx(1, abs=1e-12)

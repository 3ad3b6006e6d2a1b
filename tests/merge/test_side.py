"""Merging statistics and counters."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.merge.side import merge_statistics
from swarm.tensors.state import Schema, TensorKind, TensorSpec, numpy_dtype

MEAN, VARIANCE = TensorKind.MEAN, TensorKind.VARIANCE


def specs(*kinds: TensorKind, dtype: str = "float32", shape: tuple[int, ...] = (2,)) -> Schema:
    return Schema(tuple(TensorSpec(f"t{i}", shape, dtype, kind) for i, kind in enumerate(kinds)))


def side(schema: Schema, *values: object) -> list[np.ndarray]:
    """The arrays of one contributor, each filled with the given value."""
    return [
        np.broadcast_to(np.asarray(value, numpy_dtype(spec.dtype)), spec.shape).copy()
        for spec, value in zip(schema.side, values, strict=True)
    ]


def test_variance_includes_the_distance_between_the_means() -> None:
    schema = specs(MEAN, VARIANCE)
    sides = [side(schema, 1, 4), side(schema, -1, 4)]
    mean, variance = merge_statistics(schema.side, sides, (1, 1))
    assert mean.tolist() == [0, 0]
    assert variance.tolist() == [5, 5]


def test_pooled_statistics_are_those_of_the_pooled_samples() -> None:
    rng = np.random.default_rng(0)
    schema = specs(MEAN, VARIANCE, dtype="float64", shape=(3,))
    samples = [rng.normal(loc, scale, (100 * weight, 3)) for weight, loc, scale in ((1, 0, 1), (2, 5, 2), (7, -1, 0.1))]
    sides = [side(schema, sample.mean(axis=0), sample.var(axis=0)) for sample in samples]
    mean, variance = merge_statistics(schema.side, sides, (1, 2, 7))
    pooled = np.concatenate(samples)
    np.testing.assert_allclose(mean, pooled.mean(axis=0))
    np.testing.assert_allclose(variance, pooled.var(axis=0))


def test_variance_survives_large_means() -> None:
    """The textbook formula, mean square minus squared mean, would give zero by cancellation."""
    schema = specs(MEAN, VARIANCE, dtype="float64")
    sides = [side(schema, 1e9, 1e-3), side(schema, 1e9, 3e-3)]
    _, variance = merge_statistics(schema.side, sides, (1, 1))
    np.testing.assert_allclose(variance, 2e-3)


def test_negative_variance_is_clamped() -> None:
    schema = specs(MEAN, VARIANCE)
    sides = [side(schema, 0, -3), side(schema, 0, 1)]
    _, variance = merge_statistics(schema.side, sides, (1, 1))
    assert variance.tolist() == [0, 0]


def test_variance_pools_with_the_nearest_mean_of_its_shape() -> None:
    schema = Schema(
        (
            TensorSpec("first.mean", (2,), "float32", MEAN),
            TensorSpec("second.mean", (2,), "float32", MEAN),
            TensorSpec("other.mean", (3,), "float32", MEAN),
            TensorSpec("second.var", (2,), "float32", VARIANCE),
        )
    )
    sides = [side(schema, 100, 1, 7, 4), side(schema, -100, -1, -7, 4)]
    merged = merge_statistics(schema.side, sides, (1, 1))
    assert merged[3].tolist() == [5, 5]


def test_variance_without_a_mean_before_it_is_averaged() -> None:
    schema = specs(VARIANCE, VARIANCE, MEAN)
    sides = [side(schema, 0, 1, 10), side(schema, 0, 3, -10)]
    merged = merge_statistics(schema.side, sides, (1, 1))
    assert merged[1].tolist() == [2, 2]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("robust", [False, True])
def test_statistics_that_agree_stay_as_they_are(dtype: str, *, robust: bool) -> None:
    schema = specs(MEAN, VARIANCE, dtype=dtype, shape=(50,))
    rng = np.random.default_rng(1)
    one = side(schema, rng.standard_normal(50), rng.uniform(0, 3, 50))
    one[0][0] = -0.0
    sides = [[a.copy() for a in one] for _ in range(7)]
    merged = merge_statistics(schema.side, sides, (1, 3, 7, 9, 31, 99, 100), robust=robust)
    assert [a.tobytes() for a in merged] == [a.tobytes() for a in one]
    assert [a.dtype for a in merged] == [numpy_dtype(dtype)] * 2


@pytest.mark.parametrize("kind", [MEAN, VARIANCE])
def test_robust_rules_take_the_median(kind: TensorKind) -> None:
    schema = specs(MEAN, kind)
    sides = [side(schema, 0, value) for value in (1, 2, 1e9)]
    merged = merge_statistics(schema.side, sides, (1, 1, 1), robust=True)
    assert merged[1].tolist() == [2, 2]


def test_counters_take_the_maximum_exactly() -> None:
    schema = specs(TensorKind.COUNTER, dtype="int64", shape=())
    sides = [side(schema, 2**62 + 1), side(schema, 2**62)]
    (counter,) = merge_statistics(schema.side, sides, (1, 100))
    assert counter.shape == ()
    assert counter.dtype == np.int64
    assert int(counter) == 2**62 + 1


def test_inputs_are_left_alone_and_not_aliased() -> None:
    schema = Schema((*specs(MEAN, VARIANCE).tensors, TensorSpec("c", (1,), "int8", TensorKind.COUNTER)))
    sides = [side(schema, 1, 2, 3) for _ in range(2)]
    before = [a.copy() for a in sides[0]]
    merged = merge_statistics(schema.side, sides, (1, 2))
    assert not any(np.shares_memory(a, b) for a in merged for contribution in sides for b in contribution)
    for array, original in zip(sides[0], before, strict=True):
        np.testing.assert_array_equal(array, original)


@pytest.mark.parametrize("robust", [False, True])
def test_the_statistics_of_one_contributor_are_the_merged_ones(robust: bool) -> None:
    schema = specs(MEAN, VARIANCE, VARIANCE)
    one = side(schema, 1.5, 2.5, -3.5)
    merged = merge_statistics(schema.side, [one], (7,), robust=robust)
    assert [each.tolist() for each in merged] == [[1.5] * 2, [2.5] * 2, [max(-3.5, 0.0) if not robust else -3.5] * 2]

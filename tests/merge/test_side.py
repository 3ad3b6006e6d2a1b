"""Merging the side block."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.merge.side import merge_side
from swarm.state import Schema, TensorKind, TensorSpec, numpy_dtype

MEAN, VARIANCE, BUFFER = TensorKind.MEAN, TensorKind.VARIANCE, TensorKind.BUFFER


def specs(*kinds: TensorKind, dtype: str = "float32", shape: tuple[int, ...] = (2,)) -> Schema:
    return Schema(tuple(TensorSpec(f"t{i}", shape, dtype, kind) for i, kind in enumerate(kinds)))


def side(schema: Schema, *values: object) -> list[np.ndarray]:
    """One contributor's arrays, each filled with what is given for it."""
    return [
        np.broadcast_to(np.asarray(value, numpy_dtype(spec.dtype)), spec.shape).copy()
        for spec, value in zip(schema.side, values, strict=True)
    ]


def test_variance_includes_the_distance_between_the_means() -> None:
    schema = specs(MEAN, VARIANCE)
    sides = [side(schema, 1, 4), side(schema, -1, 4)]
    (mean, variance), differing = merge_side(schema, sides, (1, 1), sides[0])
    assert mean.tolist() == [0, 0]
    assert variance.tolist() == [5, 5]
    assert differing == ()


def test_pooled_statistics_are_those_of_the_pooled_samples() -> None:
    rng = np.random.default_rng(0)
    schema = specs(MEAN, VARIANCE, dtype="float64", shape=(3,))
    samples = [rng.normal(loc, scale, (100 * weight, 3)) for weight, loc, scale in ((1, 0, 1), (2, 5, 2), (7, -1, 0.1))]
    sides = [side(schema, sample.mean(axis=0), sample.var(axis=0)) for sample in samples]
    (mean, variance), _ = merge_side(schema, sides, (1, 2, 7), sides[0])
    pooled = np.concatenate(samples)
    np.testing.assert_allclose(mean, pooled.mean(axis=0))
    np.testing.assert_allclose(variance, pooled.var(axis=0))


def test_variance_survives_large_means() -> None:
    """The textbook formula, mean square minus squared mean, would cancel to nothing."""
    schema = specs(MEAN, VARIANCE, dtype="float64")
    sides = [side(schema, 1e9, 1e-3), side(schema, 1e9, 3e-3)]
    (_, variance), _ = merge_side(schema, sides, (1, 1), sides[0])
    np.testing.assert_allclose(variance, 2e-3)


def test_negative_variance_is_clamped() -> None:
    schema = specs(MEAN, VARIANCE)
    sides = [side(schema, 0, -3), side(schema, 0, 1)]
    (_, variance), _ = merge_side(schema, sides, (1, 1), sides[0])
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
    merged, _ = merge_side(schema, sides, (1, 1), sides[0])
    assert merged[3].tolist() == [5, 5]


@pytest.mark.parametrize("first", [TensorKind.BUFFER, TensorKind.VARIANCE])
def test_variance_without_a_mean_is_averaged(first: TensorKind) -> None:
    schema = specs(first, VARIANCE, MEAN)
    sides = [side(schema, 0, 1, 10), side(schema, 0, 3, -10)]
    merged, _ = merge_side(schema, sides, (1, 1), sides[0])
    assert merged[1].tolist() == [2, 2]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("robust", [False, True])
def test_statistics_that_agree_stay_as_they_are(dtype: str, *, robust: bool) -> None:
    schema = specs(MEAN, VARIANCE, BUFFER, dtype=dtype, shape=(50,))
    rng = np.random.default_rng(1)
    one = side(schema, rng.standard_normal(50), rng.uniform(0, 3, 50), rng.standard_normal(50))
    one[2][0] = -0.0
    merged, _ = merge_side(
        schema, [[a.copy() for a in one] for _ in range(7)], (1, 3, 7, 9, 31, 99, 100), one, robust=robust
    )
    assert [a.tobytes() for a in merged] == [a.tobytes() for a in one]
    assert [a.dtype for a in merged] == [numpy_dtype(dtype)] * 3


def test_buffers_average_by_weight_unless_all_agree() -> None:
    schema = specs(BUFFER, BUFFER)
    sides = [side(schema, 1, np.nan), side(schema, 5, np.nan)]
    merged, _ = merge_side(schema, sides, (3, 1), sides[0])
    assert merged[0].tolist() == [2, 2]
    assert np.isnan(merged[1]).all()


@pytest.mark.parametrize("kind", [MEAN, BUFFER, VARIANCE])
def test_robust_rules_take_the_median(kind: TensorKind) -> None:
    schema = specs(MEAN, kind)
    sides = [side(schema, 0, value) for value in (1, 2, 1e9)]
    merged, _ = merge_side(schema, sides, (1, 1, 1), sides[0], robust=True)
    assert merged[1].tolist() == [2, 2]


def test_counters_take_the_maximum_exactly() -> None:
    schema = specs(TensorKind.COUNTER, dtype="int64", shape=())
    sides = [side(schema, 2**62 + 1), side(schema, 2**62)]
    (counter,), _ = merge_side(schema, sides, (1, 100), sides[1])
    assert counter.shape == ()
    assert counter.dtype == np.int64
    assert int(counter) == 2**62 + 1


def test_constants_stay_our_own_and_are_named_where_they_differ() -> None:
    schema = Schema(
        (
            TensorSpec("index", (2,), "int32", TensorKind.CONSTANT),
            TensorSpec("mask", (2,), "bool", TensorKind.CONSTANT),
        )
    )
    sides = [side(schema, 1, True), side(schema, 2, True)]
    for own in sides:
        merged, differing = merge_side(schema, sides, (1, 1), own)
        assert [a.tolist() for a in merged] == [a.tolist() for a in own]
        assert differing == ("index",)


def test_peer_that_contributes_nothing_gets_the_same_result() -> None:
    schema = specs(MEAN, VARIANCE, BUFFER)
    sides = [side(schema, 1, 2, 3), side(schema, 2, 3, 4)]
    onlooker, _ = merge_side(schema, sides, (1, 2), side(schema, 9, 9, 9))
    contributor, _ = merge_side(schema, sides, (1, 2), sides[0])
    assert [a.tobytes() for a in onlooker] == [a.tobytes() for a in contributor]


def test_inputs_are_left_alone_and_not_aliased() -> None:
    schema = Schema((*specs(MEAN, VARIANCE, BUFFER).tensors, TensorSpec("c", (1,), "int8", TensorKind.CONSTANT)))
    sides = [side(schema, 1, 2, 3, 4) for _ in range(2)]
    before = [a.copy() for a in sides[0]]
    merged, _ = merge_side(schema, sides, (1, 2), sides[0])
    assert not any(np.shares_memory(a, b) for a in merged for contribution in sides for b in contribution)
    for array, original in zip(sides[0], before, strict=True):
        np.testing.assert_array_equal(array, original)

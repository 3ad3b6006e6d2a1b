"""Merging the side block: statistics, counters and constants, which every peer receives whole.

Each peer merges it for itself, so the arithmetic uses elementwise operations in a fixed order only: the same bytes on
every machine. CONSTANT tensors are the exception, each peer keeps its own; the digest of a state leaves them out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from swarm.merge.coordmedian import CoordinateMedian
from swarm.merge.mean import WeightedMean
from swarm.state import TensorKind, as_bytes, numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swarm.state import Array, Schema, TensorSpec

_MEAN = WeightedMean()
_MEDIAN = CoordinateMedian()


def merge_side(
    schema: Schema,
    contributions: Sequence[list[Array]],
    weights: Sequence[int],
    own: list[Array],
    *,
    robust: bool = False,
) -> tuple[list[Array], tuple[str, ...]]:
    """Merge the side blocks of a round.

    Counters take the maximum, constants keep this peer's value, float tensors that are equal everywhere stay as they
    are. Of the others, BatchNorm statistics are pooled: the mean of the means, and the variance of the mixture of the
    contributors' distributions. The rest takes the weighted mean. Under a robust rule all of them take the weighted
    median of each coordinate instead. A variance without a mean of its shape before it is averaged like a buffer.

    Args:
        schema: of the session.
        contributions: ``ModelState.side`` of each contributor, in the round's order.
        weights: one per contributor, integers above 0.
        own: this peer's side block, whether it contributes or not.
        robust: whether the session's rule is robust.

    Returns:
        The merged arrays, in new memory, and the names of the constants that a contributor has otherwise than we do.
    """
    merged: list[Array] = []
    differing: list[str] = []
    partners = _means(schema.side)
    for index, spec in enumerate(schema.side):
        values = [side[index].reshape(-1) for side in contributions]
        partner = partners.get(index)
        if spec.kind is TensorKind.CONSTANT:
            result = own[index].reshape(-1).copy()
            if not _all_equal([result, *values]):
                differing.append(spec.name)
        elif spec.kind is TensorKind.COUNTER:
            result = np.maximum.reduce(values)
        elif robust:
            result = _MEDIAN.merge(values, weights)
        elif partner is not None:
            means = [side[partner].reshape(-1) for side in contributions]
            result = _pooled_variance(means, values, weights).astype(numpy_dtype(spec.dtype))
        else:
            result = values[0].copy() if _all_equal(values) else _MEAN.merge(values, weights)
        merged.append(result.reshape(spec.shape))
    return merged, tuple(differing)


def _pooled_variance(means: Sequence[Array], variances: Sequence[Array], weights: Sequence[int]) -> Array:
    """Variance of the mixture: the mean variance plus the variance of the means, as float64."""
    centres = [mean.astype(np.float64) for mean in means]
    centre = _MEAN.merge(centres, weights).astype(np.float64)
    spread = [
        variance.astype(np.float64) + np.square(mean - centre)
        for mean, variance in zip(centres, variances, strict=True)
    ]
    return np.maximum(_MEAN.merge(spread, weights), np.float64(0))


def _means(specs: Sequence[TensorSpec]) -> dict[int, int]:
    """For each variance, by its index, the nearest mean before it with the same shape."""
    latest: dict[tuple[int, ...], int] = {}
    partners: dict[int, int] = {}
    for index, spec in enumerate(specs):
        if spec.kind is TensorKind.MEAN:
            latest[spec.shape] = index
        elif spec.kind is TensorKind.VARIANCE and spec.shape in latest:
            partners[index] = latest[spec.shape]
    return partners


def _all_equal(arrays: Sequence[Array]) -> bool:
    """Whether all hold the same bytes."""
    first = as_bytes(arrays[0])
    return all(as_bytes(array) == first for array in arrays[1:])

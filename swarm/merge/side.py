"""Merge of everything but weights: the statistics and counters of the side block, and the moments of optimizers.

Every peer receives those of every contributor and merges them itself. So only elementwise operations in a fixed order
are used, which give the same bytes on every machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from swarm.merge.coordmedian import CoordinateMedian
from swarm.merge.mean import WeightedMean
from swarm.tensors.state import TensorKind, as_bytes, numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swarm.tensors.state import Array, Schema, TensorSpec

_MEAN = WeightedMean()
_MEDIAN = CoordinateMedian()


def merge_statistics(
    specs: Sequence[TensorSpec],
    contributions: Sequence[Sequence[Array]],
    weights: Sequence[int],
    *,
    robust: bool = False,
) -> list[Array]:
    """Merge the statistics and counters of a round.

    Counters: the maximum. Statistics that are equal at all contributors do not change. Other BatchNorm statistics are
    combined as if over all data: the mean of the means, and the variance of the mixture of the distributions. For a
    variance without a mean of its shape before it, the weighted mean is used. Under a robust rule, the weighted median
    of each coordinate is used for all statistics.

    Args:
        specs: of the tensors, without module state.
        contributions: the tensors of each contributor, in the round's order.
        weights: one per contributor, integers above 0.
        robust: whether the session's rule is robust.

    Returns:
        The merged arrays, in new memory.
    """
    merged: list[Array] = []
    partners = _means(specs)
    for index, spec in enumerate(specs):
        values = [each[index].reshape(-1) for each in contributions]
        partner = partners.get(index)
        if spec.kind in (TensorKind.COUNTER, TensorKind.STEPS):
            result = np.maximum.reduce(values)
        elif robust:
            result = _MEDIAN.merge(values, weights)
        elif partner is not None:
            means = [each[partner].reshape(-1) for each in contributions]
            result = _pooled_variance(means, values, weights).astype(numpy_dtype(spec.dtype))
        else:
            result = values[0].copy() if _all_equal(values) else _MEAN.merge(values, weights)
        merged.append(result.reshape(spec.shape))
    return merged


class StatisticsDistance(NamedTuple):
    """How far the statistics of one site are from merged ones."""

    layer: str
    """Name of the mean of the layer in which it is largest."""
    value: float
    """In standard deviations of the merged statistics."""


def statistics_distance(schema: Schema, site: Sequence[Array], merged: Sequence[Array]) -> StatisticsDistance | None:
    """The distance of the statistics in one side block from those in another; None if there are none.

    That of a layer is the root mean square, over its channels, of the 2-Wasserstein distance of two normal
    distributions, divided by the standard deviation of the merged one: (m - M)² + (s - S)², divided by S², for means m
    and M and standard deviations s and S. Channels that do not vary in the merged statistics do not count.
    """
    distances = [
        StatisticsDistance(
            schema.side[mean].name, _distance((site[mean], site[variance]), (merged[mean], merged[variance]))
        )
        for variance, mean in _means(schema.side).items()
    ]
    return max(distances, key=lambda each: each.value, default=None)


def _distance(site: tuple[Array, Array], merged: tuple[Array, Array]) -> float:
    (mean, variance), (pooled_mean, pooled_variance) = (
        [each.astype(np.float64) for each in two] for two in (site, merged)
    )
    varies = pooled_variance > 0
    if not varies.any():
        return 0.0
    spread = np.sqrt(np.maximum(variance, 0)) - np.sqrt(np.maximum(pooled_variance, 0))
    squared = (np.square(mean - pooled_mean) + np.square(spread))[varies] / pooled_variance[varies]
    return float(np.sqrt(squared.mean()))


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

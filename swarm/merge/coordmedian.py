"""Weighted median of each coordinate."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from swarm.merge.base import MergeRule, Scope
from swarm.merge.blocks import blocks
from swarm.merge.network import flip, median_network, middle
from swarm.tensors import kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swarm.tensors.state import Array


class CoordinateMedian(MergeRule):
    """Weighted median of each coordinate (Yin et al. 2018, arXiv 1803.01498).

    The smallest value for which the contributions up to it have more than half of the weight. With exactly half,
    the midpoint between it and the next value. With equal weights this is ``numpy.median``, computed by a sorting
    network. Weights are compared as integers, so ties are exact.

    Breakdown point 1/2 of the weight: contributions below that fraction cannot move a coordinate out of the range of
    the others. With strongly skewed data the accuracy is lower even without a faulty peer.
    """

    name: ClassVar[str] = "coordmedian"
    scope: ClassVar[Scope] = Scope.COLUMN
    robust: ClassVar[bool] = True

    def merge(self, columns: Sequence[Array], weights: Sequence[int]) -> Array:
        """Merge aligned chunks of the contributions."""
        merged = np.empty_like(columns[0])
        shares = np.array(weights, np.int64)
        if kernels.native and kernels.takes(*columns) and (shares == shares[0]).all():
            kernels.native.median(columns, np.array(median_network(len(columns)), np.int32), merged)
            return merged
        median = _plain if (shares == shares[0]).all() else partial(_weighted, weights=shares)
        for part in blocks(merged.size, len(columns)):
            merged[part] = median([column[part] for column in columns])
        return merged


def _plain(columns: Sequence[Array]) -> NDArray[np.float64]:
    """Median of each coordinate."""
    rows: NDArray[np.signedinteger] = np.stack(columns).view(f"i{columns[0].itemsize}")
    flip(rows)
    lower, upper = middle(rows)
    flip(lower)
    if upper is not lower:
        flip(upper)
    dtype = columns[0].dtype
    return _midpoints(lower.view(dtype), upper.view(dtype), np.bool_(upper is not lower))


def _weighted(columns: Sequence[Array], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weighted median of each coordinate. Stable sorting gives the same sign of zeros on every machine."""
    rows = np.stack([_sortable(column) for column in columns], axis=1)
    order = np.argsort(rows, axis=1, kind="stable")
    held = 2 * np.cumsum(weights[order], axis=1)
    total = weights.sum()
    row = np.arange(len(rows))
    half = (held < total).sum(axis=1)
    tie = held[row, half] == total
    return _midpoints(rows[row, order[row, half]], rows[row, order[row, half + tie]], tie)


def _sortable(values: Array) -> Array:
    """The same values in a dtype that NumPy sorts quickly."""
    return values.astype(np.float32) if values.dtype.itemsize == 2 else values  # float16, bfloat16


def _midpoints(lower: Array, upper: Array, tie: NDArray[np.bool_] | np.bool_) -> NDArray[np.float64]:
    low = lower.astype(np.float64)
    midpoints: NDArray[np.float64] = np.where(tie, (low + upper.astype(np.float64)) / 2, low)
    return midpoints

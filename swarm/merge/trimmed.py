"""Mean of each coordinate without its extremes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from swarm.merge.base import MergeRule, Scope
from swarm.merge.blocks import blocks
from swarm.merge.gram import combine
from swarm.merge.network import flip, ranked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swarm.tensors.state import Array

QUARTER = 0.25


class TrimmedMean(MergeRule):
    """Weighted mean of each coordinate without its extremes (Yin et al. 2018, arXiv 1803.01498).

    For each coordinate the values are sorted, and the part ``share`` of the weight is removed at each end. The weight
    of a value at the edge is divided. With n contributions of equal weight and the share f / n, this is the mean
    without the f largest and the f smallest values.

    Breakdown point ``share`` of the weight: contributions up to that part cannot move a coordinate out of the range of
    the others.
    """

    name: ClassVar[str] = "trimmed_mean"
    scope: ClassVar[Scope] = Scope.COLUMN
    robust: ClassVar[bool] = True

    def __init__(self, share: float = QUARTER) -> None:
        """By default, a quarter of the weight is removed at each end.

        Raises:
            ValueError: the share is not above 0 and below 1/2.
        """
        self._share = require_share(share)
        self.fewest = fewest_of(share)

    def merge(self, columns: Sequence[Array], weights: Sequence[int]) -> Array:
        """Merge aligned chunks of the contributions."""
        merged = np.empty_like(columns[0])
        counts = np.array(weights, np.int64)
        trim = self._equal if (counts == counts[0]).all() else self._weighted
        for part in blocks(merged.size, len(columns)):
            trim([column[part] for column in columns], counts, merged[part])
        return merged

    def _equal(self, columns: Sequence[Array], counts: NDArray[np.int64], out: Array) -> None:
        kept = kept_parts(np.ones(len(counts)), self._share, 1 - self._share)
        places = np.flatnonzero(kept)
        first, last = int(places[0]), int(places[-1])
        rows: NDArray[np.signedinteger] = np.stack(columns).view(f"i{columns[0].itemsize}")
        flip(rows)
        middle = ranked(rows, first, last)
        for row in middle:
            flip(row)
        combine([row.view(out.dtype) for row in middle], kept[first : last + 1], out)

    def _weighted(self, columns: Sequence[Array], counts: NDArray[np.int64], out: Array) -> None:
        values = np.stack([column.astype(np.float64) for column in columns])
        order = np.argsort(values, axis=0, kind="stable")
        values = np.take_along_axis(values, order, axis=0)
        kept = kept_parts(counts[order], self._share, 1 - self._share)
        # Row by row: the order in which numpy.sum adds depends on the length of the chunk, and so would the last bit.
        mean = sum(part * row for part, row in zip(kept, values, strict=True))
        # Equal values are kept exactly; a sum of fractions could change the last bit.
        out[...] = np.where(values[0] == values[-1], values[0], mean).astype(out.dtype)


def kept_parts(sorted_weights: NDArray[np.generic], low: float, high: float) -> NDArray[np.float64]:
    """The part of each weight between two fractions of the total, of weights in order along the first axis; sum 1.

    Args:
        sorted_weights: of the contributions, in the order of their values.
        low: the fraction of the total weight that is removed at the beginning.
        high: the fraction of the total weight after which the rest is removed.
    """
    ends = np.cumsum(sorted_weights, axis=0, dtype=np.float64)
    total = float(ends.reshape(len(ends), -1)[-1, 0])
    kept: NDArray[np.float64] = np.diff(np.clip(ends, low * total, high * total), axis=0, prepend=low * total)
    return kept / ((high - low) * total)


def require_share(share: float) -> float:
    """The part of the weight that a rule tolerates.

    Raises:
        ValueError: it is not above 0 and below 1/2.
    """
    if not 0 < share < 0.5:
        raise ValueError(f"a share of {share} is not allowed: allowed is a number above 0 and below 0.5")
    return share


def fewest_of(share: float) -> int:
    """The fewest contributions of equal weight of which one has no more than a part of the weight."""
    return math.ceil(round(1 / share, 9))  # 1 / (1 / 49) is more than 49

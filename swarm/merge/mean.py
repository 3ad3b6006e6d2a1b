"""Weighted mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from swarm.merge.base import MergeRule, Scope
from swarm.merge.blocks import blocks
from swarm.merge.gram import combine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swarm.state import Array


class WeightedMean(MergeRule):
    """Weighted mean of the contributions, as in FedAvg (McMahan et al. 2017, arXiv 1602.05629).

    Sums in float64 in the order of the contributions and rounds once (to bfloat16 by way of float32, as ml_dtypes
    does). Equal contributions give exactly their value: for dtypes up to 32 bits the float64 sums are then exact,
    for float64 the differences are.

    Breakdown point 0: a single contribution can move the result anywhere.
    """

    name: ClassVar[str] = "mean"
    scope: ClassVar[Scope] = Scope.STREAM

    def merge(self, columns: Sequence[Array], weights: Sequence[int]) -> Array:
        """Merge aligned pieces of the contributions."""
        total = sum(weights)
        if columns[0].dtype == np.float64:
            return combine(columns, np.array(weights) / total)
        merged = np.empty_like(columns[0])
        for part in blocks(merged.size):
            accumulated = columns[0][part].astype(np.float64)
            accumulated *= weights[0]
            term = np.empty_like(accumulated)
            for column, weight in zip(columns[1:], weights[1:], strict=True):
                term[...] = column[part]
                term *= weight
                accumulated += term
            accumulated /= total
            merged[part] = accumulated
        return merged

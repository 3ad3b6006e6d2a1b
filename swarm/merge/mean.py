"""Weighted mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from swarm.merge.base import MergeRule, Scope
from swarm.merge.gram import combine, combine_measured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swarm.tensors.state import Array


class WeightedMean(MergeRule):
    """Weighted mean of the contributions, as in FedAvg (McMahan et al. 2017, arXiv 1602.05629).

    Adds the differences from the contribution with the largest weight, in the order of the others: in float32, for
    float64 contributions in float64. So equal contributions give exactly their value, and the rounding errors are
    relative to the differences between peers, not to the weights.

    Breakdown point 0: a single contribution can move the result anywhere.
    """

    name: ClassVar[str] = "mean"
    scope: ClassVar[Scope] = Scope.STREAM

    def merge(self, columns: Sequence[Array], weights: Sequence[int]) -> Array:
        """Merge aligned chunks of the contributions."""
        return combine(columns, np.array(weights) / sum(weights))

    def merge_into(self, columns: Sequence[Array], weights: Sequence[int], out: Array) -> None:
        """Merge directly into ``out``."""
        combine(columns, np.array(weights) / sum(weights), out)

    def merge_measured(
        self, columns: Sequence[Array], weights: Sequence[int], origin: Array, out: Array
    ) -> Sequence[float]:
        """Merge and measure in one pass."""
        return combine_measured(columns, np.array(weights) / sum(weights), origin, out)

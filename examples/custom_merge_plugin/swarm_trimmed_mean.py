"""The trimmed mean: for each coordinate, a quarter of the weight is removed at each end."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from swarm import hookimpl
from swarm.merge import MergeRule, Scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swarm.plugins import Register
    from swarm.tensors import Array

TRIMMED = 0.25


class TrimmedMean(MergeRule):
    """Weighted mean of each coordinate without its extremes (Yin et al. 2018, arXiv 1803.01498).

    For each coordinate the values are sorted, and a quarter of the total weight is removed at each end. With four
    equal peers the two middle values remain.
    """

    name: ClassVar[str] = "trimmed_mean"
    scope: ClassVar[Scope] = Scope.COLUMN
    robust: ClassVar[bool] = True

    def merge(self, columns: Sequence[Array], weights: Sequence[int]) -> Array:
        """Merge aligned chunks of the contributions."""
        values = np.stack([column.astype(np.float64) for column in columns])
        order = np.argsort(values, axis=0, kind="stable")
        values = np.take_along_axis(values, order, axis=0)
        ends = np.cumsum(np.asarray(weights, np.float64)[order], axis=0)
        first, last = TRIMMED * sum(weights), (1 - TRIMMED) * sum(weights)
        kept = np.diff(np.clip(ends, first, last), axis=0, prepend=first)
        # Row by row: the summation order of numpy.sum depends on the length of the chunk, so the last bit would differ.
        mean = sum(kept * values) / (last - first)
        # Equal values are kept exactly; a sum of fractions could change the last bit.
        return np.where(values[0] == values[-1], values[0], mean).astype(columns[0].dtype)


@hookimpl
def swarm_register(register: Register) -> None:
    """Register the rule. Swarm calls this for every session."""
    register.merge_rule(TrimmedMean.name, TrimmedMean())

"""Nearest-neighbour mixing, before another rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from swarm.merge.base import MergeRule, Scope
from swarm.merge.geomedian import GeometricMedian
from swarm.merge.gram import distances_between
from swarm.merge.trimmed import QUARTER, fewest_of, kept_parts, require_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class NearestNeighbourMixing(MergeRule):
    """Geometric median of mixed contributions (NNM: Allouah et al., AISTATS 2023, arXiv 2302.01772).

    Each contribution is replaced by the weighted mean of those nearest to it, itself included, which have all of the
    weight but ``share``. The weight of the furthest of them is divided. With n contributions of equal weight and the
    share f / n, these are the n - f nearest. Contributions at equal distances are taken in their order.

    Breakdown point ``share`` of the weight.
    """

    name: ClassVar[str] = "nnm"
    scope: ClassVar[Scope] = Scope.GRAM
    robust: ClassVar[bool] = True
    convex: ClassVar[bool] = True

    def __init__(self, share: float = QUARTER) -> None:
        """By default, up to a quarter of the weight may be bad.

        Raises:
            ValueError: the share is not above 0 and below 1/2.
        """
        self._share = require_share(share)
        self._rule = GeometricMedian()
        self.fewest = fewest_of(share)

    def coefficients(self, gram: NDArray[np.float64], weights: Sequence[int]) -> NDArray[np.float64]:
        """The factor of each contribution in the geometric median of the mixtures: float64[n], none negative, sum 1."""
        mixtures = self.mixtures(gram, weights)
        found: NDArray[np.float64] = self._rule.coefficients(mixtures @ gram @ mixtures.T, weights) @ mixtures
        return found

    def mixtures(self, gram: NDArray[np.float64], weights: Sequence[int]) -> NDArray[np.float64]:
        """The factor of each contribution (column) in each mixture (row): float64[n, n], with rows of the sum 1."""
        order = np.argsort(distances_between(gram), axis=1, kind="stable")
        kept = kept_parts(np.array(weights)[order].T, 0, 1 - self._share)
        mixtures = np.zeros_like(gram)
        np.put_along_axis(mixtures, order, kept.T, axis=1)
        return mixtures

"""Rules that shorten contributions which are further from a centre than most, and then take the weighted mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from swarm.merge.base import MergeRule, Scope
from swarm.merge.gram import NOISE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

STEPS = 3
"""Of centered clipping; the authors' code uses one to three."""


class NormClipping(MergeRule):
    """Weighted mean of updates, of which none is longer than the median one.

    An update is a contribution minus the reference model. It is multiplied by min(1, C / its norm), where C is the
    weighted median of the norms. At exactly half of the weight, C is the smaller of the two middle norms.

    While less than half of the weight is bad, a bad contribution moves the model by at most its part of the weight
    times C, and C is at most the largest norm of the others. The direction of an update is not checked.
    """

    name: ClassVar[str] = "norm_clip"
    scope: ClassVar[Scope] = Scope.GRAM
    robust: ClassVar[bool] = True
    convex: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = True
    fewest = 3

    def coefficients(self, gram: NDArray[np.float64], weights: Sequence[int]) -> NDArray[np.float64]:
        """The factor of each contribution, and of the reference model: float64[n + 1], none negative, sum 1."""
        return _clipped(gram, weights, steps=1)


class CenteredClipping(MergeRule):
    """Centered clipping (Karimireddy, He and Jaggi, ICML 2021, arXiv 2012.10333), three steps from the reference model.

    Each step moves the centre v by the weighted mean of the differences between contributions and v, each multiplied by
    min(1, C / its norm), where C is the weighted median of the norms of this step. At exactly half of the weight, C is
    the smaller of the two middle norms. The first step is norm clipping; the others clip relative to its result.

    The paper sets C and carries v from round to round. This rule keeps no state: a model that most peers have moved
    from is no better centre than the reference model.
    """

    name: ClassVar[str] = "centered_clip"
    scope: ClassVar[Scope] = Scope.GRAM
    robust: ClassVar[bool] = True
    convex: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = True
    fewest = 3

    def coefficients(self, gram: NDArray[np.float64], weights: Sequence[int]) -> NDArray[np.float64]:
        """The factor of each contribution, and of the reference model: float64[n + 1], none negative, sum 1."""
        return _clipped(gram, weights, steps=STEPS)


def _clipped(gram: NDArray[np.float64], weights: Sequence[int], steps: int) -> NDArray[np.float64]:
    """Coefficients of the centre after some steps from the last row."""
    counts = np.array(weights, np.int64)
    products = gram - gram[-1] - gram[:, -1, None] + gram[-1, -1]
    squares = products.diagonal()
    centre = np.zeros(len(gram))
    centre[-1] = 1
    for _ in range(steps):
        projected = products @ centre
        square = centre @ projected
        apart = (squares - 2 * projected + square)[:-1]
        distances = np.sqrt(np.where(apart <= NOISE * (squares[:-1] + square), 0, apart))
        radius = _lower_median(distances, counts)
        factors = np.ones(len(counts))
        np.divide(radius, distances, out=factors, where=distances > radius)
        # Exactly 0 where nothing is clipped: then the rows that were the centre have no part in the next one.
        centre *= counts @ (1 - factors) / counts.sum()
        centre[:-1] += counts * factors / counts.sum()
    return centre


def _lower_median(values: NDArray[np.float64], counts: NDArray[np.int64]) -> float:
    """The smallest value up to which values have at least half of the weight."""
    order = np.argsort(values, kind="stable")
    held = 2 * np.cumsum(counts[order])
    return float(values[order[int((held < counts.sum()).sum())]])

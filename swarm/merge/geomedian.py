"""Geometric median of whole models."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from swarm.merge.base import MergeRule, Scope
from swarm.merge.gram import distances_between

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ITERATIONS = 512
"""Upper bound; each needs n² operations, and a few tens are typical."""
TOLERANCE = 1e-9
"""The iteration ends with a step of this size, relative to the scale of the contributions."""
SMOOTHING = 1e-6
"""Lower bound for distances, relative to the same scale."""


class GeometricMedian(MergeRule):
    """The point with the smallest weighted sum of distances to the contributions, each as one whole vector.

    Computed by the smoothed Weiszfeld iteration of RFA (Pillutla, Kakade and Harchaoui, arXiv 1912.13445), on
    coefficients and inner products instead of vectors. Scale and starting point come from the smallest ball around a
    contribution that contains more than half of the weight. RFA uses the mean, which a single contribution that is very
    far away would make unusable.

    Breakdown point 1/2 of the weight. Every peer computes the coefficients for its own slice; they agree to rounding.
    """

    name: ClassVar[str] = "geomedian"
    scope: ClassVar[Scope] = Scope.GRAM
    robust: ClassVar[bool] = True
    convex: ClassVar[bool] = True

    def coefficients(self, gram: NDArray[np.float64], weights: Sequence[int]) -> NDArray[np.float64]:
        """The factor of each contribution in the geometric median: float64[n], none negative, with the sum 1."""
        counts = np.array(weights, np.int64)
        centre, ball, radius = _majority_ball(distances_between(gram), counts)
        current: NDArray[np.float64] = np.where(ball, counts, 0) / counts[ball].sum()
        if radius == 0:
            return current  # more than half of the weight is in one point, which is the median

        products = gram - gram[centre] - gram[:, centre, None] + gram[centre, centre]
        squares = products.diagonal()
        for _ in range(ITERATIONS):
            projected = products @ current
            distances = np.sqrt(np.maximum(squares - 2 * projected + current @ projected, 0))
            pulls = counts / np.maximum(distances, SMOOTHING * radius)
            previous, current = current, pulls / pulls.sum()
            step = current - previous
            if step @ products @ step <= (TOLERANCE * radius) ** 2:
                break
        return current


def _majority_ball(distances: NDArray[np.float64], weights: NDArray[np.int64]) -> tuple[int, NDArray[np.bool_], float]:
    """Centre, members and radius of the smallest ball around a contribution with more than half of the weight."""
    order = np.argsort(distances, axis=1, kind="stable")
    held = 2 * np.cumsum(weights[order], axis=1)
    last = (held <= weights.sum()).sum(axis=1)
    row = np.arange(len(distances))
    radii = distances[row, order[row, last]]
    centre = int(np.argmin(radii))
    return centre, distances[centre] <= radii[centre], float(radii[centre])

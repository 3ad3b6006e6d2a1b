"""Multi-Krum: the weighted mean of the contributions that are closest to their neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from swarm import hookimpl
from swarm.merge import MergeRule, Scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swarm.plugins import Register


class MultiKrum(MergeRule):
    """Multi-Krum (Blanchard et al. 2017, arXiv 1703.02757), for f = (n - 3) / 2 bad ones of n contributions.

    The score of a contribution is the sum of the squared distances to the n - f - 2 others that are nearest to it. The
    n - f contributions with the lowest scores are kept, of equal scores the first; the result is their weighted mean.
    Scores ignore weights.
    """

    name: ClassVar[str] = "multikrum"
    scope: ClassVar[Scope] = Scope.GRAM
    robust: ClassVar[bool] = True
    fewest = 5

    def coefficients(self, gram: NDArray[np.float64], weights: Sequence[int]) -> NDArray[np.float64]:
        """The factor of each contribution: its part of the weight of those that are kept, or 0."""
        count = len(weights)
        bad = max((count - 3) // 2, 0)
        norms = gram.diagonal()
        distances = np.sort(norms + norms[:, None] - 2 * gram, axis=1)  # squared; first that of itself, 0
        scores = distances[:, 1 : max(count - bad - 1, 1)].sum(axis=1)
        kept = np.argsort(scores, kind="stable")[: count - bad]
        factors = np.zeros(count)
        factors[kept] = np.asarray(weights)[kept]
        return factors / factors.sum()


@hookimpl
def swarm_register(register: Register) -> None:
    """Register the rule. Swarm calls this for every session."""
    register.merge_rule(MultiKrum.name, MultiKrum())

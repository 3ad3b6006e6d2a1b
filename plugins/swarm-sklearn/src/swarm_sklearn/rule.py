"""The merge rule of counts and sums: every sample counts once."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from swarm.merge import MergeRule, Scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NAME = "sum"


class SumOfUpdates(MergeRule):
    """The reference model plus the update of each contributor: B + Σ (x_i - B).

    B is the last merged model and x_i a contribution. If a model consists of counts and sums over samples, x_i - B is
    what the site has added since the last merge. So the result is that of all sites' samples together, and a sample of
    an earlier round does not count again. Weights have no effect.
    """

    name: ClassVar[str] = NAME
    scope: ClassVar[Scope] = Scope.GRAM
    needs_reference: ClassVar[bool] = True

    def coefficients(self, gram: NDArray[np.float64], weights: Sequence[int]) -> NDArray[np.float64]:
        """1 for each of the n contributions and 1 - n for the reference model: float64[n + 1]."""
        contributions = len(weights)
        return np.array([1.0] * contributions + [1.0 - contributions])

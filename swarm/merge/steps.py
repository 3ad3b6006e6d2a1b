"""Normalised averaging: contributions of peers that made different numbers of steps, as if all had made as many.

Source: FedNova (Wang et al. 2020, arXiv 2007.07481). With x the model before the round, P the contributions, a their
parts of the weight and t their steps, the mean becomes x + T sum(a (P - x) / t), where T is the weighted mean of t. So
each contribution is taken as x + (T / t) (P - x), under every rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from swarm.merge.gram import combine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swarm.tensors.state import Array

MOST = 4
"""In T the steps of a peer count as at most so many times the median ones: peers declare their steps themselves, and T
scales the contributions of all."""


def step_factors(weights: Sequence[int], steps: Sequence[int]) -> tuple[float, ...]:
    """T / t of each contribution; 1 for one without new steps, such as the frozen weights of a finished peer.

    Args:
        weights: of the contributions, above 0.
        steps: that each has made since its last merge.
    """
    made = sorted(count for count in steps if count > 0)
    if not made:
        return (1.0,) * len(steps)
    most = MOST * made[(len(made) - 1) // 2]
    counted = [(weight, min(count, most)) for weight, count in zip(weights, steps, strict=True) if count > 0]
    # A quotient of integers, so the same at every peer.
    usual = sum(weight * count for weight, count in counted) / sum(weight for weight, _ in counted)
    return tuple(usual / count if count > 0 else 1.0 for count in steps)


def scaled(values: Array, origin: Array, factor: float) -> Array:
    """The contribution that has moved ``factor`` times as far from ``origin``, in its dtype, rounded once."""
    return values if factor == 1 else combine([values, origin], np.array([factor, 1 - factor]))

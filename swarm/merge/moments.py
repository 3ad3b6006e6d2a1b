"""Merge of the moments of optimizers, which no distance of weights covers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from swarm.merge.coordmedian import CoordinateMedian
from swarm.merge.mean import WeightedMean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swarm.merge.base import MergeRule
    from swarm.tensors.state import Array

ABSURD = 100.0
"""Moments whose norm is more than this many times the median one are left out. A single batch that explodes would stay
in the second moments of all sites for long, while Adam's steps, and so the weights, hardly show it."""
LEAST = 3
"""Contributors without which no one can be said to be far from the rest."""

_MEAN = WeightedMean()
_MEDIAN = CoordinateMedian()


def moments_rule(rule: MergeRule) -> MergeRule:
    """How moments are merged in a session of ``rule``: like the statistics, by mean or by median."""
    return _MEDIAN if rule.robust else _MEAN


def plausible(parts: Sequence[Array]) -> list[int]:
    """The places of the contributions to a chunk that are merged: all but those whose norm is absurd.

    The median is the lower one. Where it is 0, as in layers that most sites do not train, all are merged.
    """
    with np.errstate(over="ignore"):
        norms = [float(np.linalg.norm(part.astype(np.float64))) for part in parts]
    median = sorted(norms)[(len(norms) - 1) // 2]
    if len(parts) < LEAST or median == 0:
        return list(range(len(parts)))
    return [place for place, norm in enumerate(norms) if norm <= ABSURD * median]

"""What bad sites send instead of what they have trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
DEVIATIONS = 1.5
"""Of ALIE. Its formula gives 0.14 for 2 of 11, which hardly changes the mean."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a bad site knows in a round: everything."""

    own: Vector
    """The update that it has trained."""
    honest: NDArray[np.float32]
    """[honest sites, values]: the updates of the others."""
    random: np.random.Generator


def _little_is_enough(known: Known) -> Vector:
    sent: Vector = known.honest.mean(axis=0) - DEVIATIONS * known.honest.std(axis=0, ddof=1)
    return sent


def _against_the_mean(factor: float) -> Callable[[Known], Vector]:
    return lambda known: -factor * known.honest.mean(axis=0)


def _noise(known: Known) -> Vector:
    return known.random.standard_normal(known.own.size, np.float32)


ATTACKS: Mapping[str, Callable[[Known], Vector]] = {
    "label": lambda known: known.own,
    "sign": lambda known: -known.own,
    "x10": lambda known: -10 * known.own,
    "gauss": _noise,
    "alie": _little_is_enough,
    "ipm0.5": _against_the_mean(0.5),
    "ipm5": _against_the_mean(5.0),
    "mimic": lambda known: known.honest[0],
    "nan": lambda known: np.full_like(known.own, np.nan),
    "free": lambda known: np.zeros_like(known.own),
}
"""The update that every bad site sends, by the name of the attack.

label: trained on the labels C - 1 - y, of C classes. sign, x10: the own update times -1 and -10. gauss: a standard
normal value in each coordinate. alie: the mean of the honest updates less 1.5 standard deviations, in each coordinate
(Baruch et al. 2019, arXiv 1902.06156). ipm: the mean of the honest updates times -0.5 and -5 (Xie et al. 2019,
arXiv 1903.03936). mimic: a copy of the first honest site's (Karimireddy et al. 2022, arXiv 2006.09365). nan: NaN.
free: nothing new, as of a site that takes the model and does not train.
"""
FLIPPED = "label"
"""The attack that is in the data."""
UNTRAINED = frozenset({"gauss", "alie", "ipm0.5", "ipm5", "mimic", "nan", "free"})
"""Attacks that do not depend on what the bad sites would train."""

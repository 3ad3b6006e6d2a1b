"""One signal for all peers, which no single one of them sets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FEWEST = 3
"""Fewest signals for a median: of two that differ, either one may be true."""


def typical(signals: Sequence[tuple[int, float]]) -> float:
    """The weighted median of signals, in any order; the weighted mean of two.

    A peer counts for less than all others together, whatever its weight is. So of three or more, one that tells a
    false signal moves the result between the lowest and the highest of the others, and no further.

    Args:
        signals: (weight, signal) of each peer; of at least one the weight is not 0. One that is not finite is higher
            than all others.

    Returns:
        The signal; infinity where about half of the weight has none that is finite, or one of two peers has none.
    """
    told = sorted((signal if math.isfinite(signal) else math.inf, weight) for weight, signal in signals if weight > 0)
    total = sum(weight for _, weight in told)
    if len(told) < FEWEST:
        # fsum rounds once, so the result does not depend on the order of the peers
        return math.fsum(signal * (weight / total) for signal, weight in told)
    doubled = [min(2 * weight, 2 * (total - weight) - 1) for _, weight in told]
    half, below = sum(doubled) / 2, 0
    for place, weight in enumerate(doubled):
        below += weight
        if below > half:
            return told[place][0]
        if below == half:
            return told[place][0] / 2 + told[place + 1][0] / 2
    raise ValueError("no peer has a weight")

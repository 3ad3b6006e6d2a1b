"""An interval that follows how far the peers move apart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from swarm.records import SyncState
from swarm.sync.base import Signal, SyncPolicy
from swarm.sync.typical import typical

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST_STEP = 2.0
"""The interval becomes at most twice or half as long after one round."""


class DriftInterval(SyncPolicy):
    """Let the peers move equally far between all merges.

    The distance of a peer's weights from the last merged model grows about in proportion to the interval. The interval
    is multiplied by the distance of the first round over that of this one. That is consensus control (Kong et al.,
    ICML 2021, arXiv 2102.04828), with the target taken from the first round.
    """

    name: ClassVar[str] = "drift"
    signal = Signal.DISTANCE

    def next(self, state: SyncState, signals: Sequence[tuple[int, float]]) -> SyncState:
        """The state after a round with these distances; those of 0 and below change nothing."""
        distance = typical(signals) if any(weight for weight, _ in signals) else math.inf
        if not (math.isfinite(distance) and distance > 0):
            return state
        if state.reference is None:
            return SyncState(state.interval, distance)
        change = min(LARGEST_STEP, max(1 / LARGEST_STEP, state.reference / distance))
        return SyncState(self.bounded(state.interval * change), state.reference)

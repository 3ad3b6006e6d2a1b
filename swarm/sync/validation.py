"""An interval that follows the merged model's validation loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from swarm.records import SyncState
from swarm.sync.base import Signal, SyncPolicy
from swarm.sync.typical import typical

if TYPE_CHECKING:
    from collections.abc import Sequence

TOLERANCE = 0.01
"""Fraction of the previous loss by which the loss must fall to count as an improvement."""


class ValidationInterval(SyncPolicy):
    """Merge less often while the merged model improves, and more often if it does not.

    The criterion is what the peers' validation losses of the merged model come to, see :func:`typical`. If that
    falls by more than 1 % from one round to the next, the interval grows by a quarter, rounded up. Otherwise, or if it
    is not finite, the interval halves. The first loss is only stored. A round without losses changes nothing.
    """

    name: ClassVar[str] = "validation"
    signal = Signal.VALIDATION_LOSS

    def next(self, state: SyncState, signals: Sequence[tuple[int, float]]) -> SyncState:
        """The state after a round with these losses."""
        if not any(weight for weight, _ in signals):
            return state
        loss = typical(signals)
        if not math.isfinite(loss):
            return SyncState(self.bounded(state.interval // 2), state.reference)
        if state.reference is None:
            return SyncState(state.interval, loss)
        if loss < state.reference - TOLERANCE * abs(state.reference):
            return SyncState(self.bounded(-(-5 * state.interval // 4)), loss)
        return SyncState(self.bounded(state.interval // 2), loss)

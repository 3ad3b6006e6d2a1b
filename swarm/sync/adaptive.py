"""An interval that follows the merged model's validation loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from swarm.records import SyncState
from swarm.sync.base import SyncPolicy
from swarm.sync.typical import typical_loss

if TYPE_CHECKING:
    from collections.abc import Sequence

RANGE = 8
"""The interval stays between 1/8 and 8 times ``sync_interval``. Without a limit it diverges with skewed data."""
TOLERANCE = 0.01
"""Fraction of the previous loss by which the loss must fall to count as an improvement."""


class ValidationInterval(SyncPolicy):
    """Merge less often while the merged model improves, and more often if it does not.

    The criterion is what the peers' validation losses of the merged model come to, see :func:`typical_loss`. If that
    falls by more than 1 % from one round to the next, the interval grows by a quarter, rounded up. Otherwise, or if it
    is not finite, the interval halves. The first loss is only stored. A round without losses changes nothing.
    """

    name: ClassVar[str] = "validation"
    needs_loss: ClassVar[bool] = True

    @property
    def lowest(self) -> int:
        """The smallest interval, in batches."""
        return max(1, self.interval // RANGE)

    @property
    def highest(self) -> int:
        """The largest interval, in batches."""
        return RANGE * self.interval

    def next(self, state: SyncState, losses: Sequence[tuple[int, float]]) -> SyncState:
        """The state after a round with these losses."""
        if not any(weight for weight, _ in losses):
            return state
        loss = typical_loss(losses)
        if not math.isfinite(loss):
            return SyncState(self._bounded(state.interval // 2), state.loss)
        if state.loss is None:
            return SyncState(state.interval, loss)
        if loss < state.loss - TOLERANCE * abs(state.loss):
            return SyncState(self._bounded(-(-5 * state.interval // 4)), loss)
        return SyncState(self._bounded(state.interval // 2), loss)

    def _bounded(self, interval: int) -> int:
        return min(self.highest, max(self.lowest, interval))

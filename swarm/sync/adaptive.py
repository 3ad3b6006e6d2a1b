"""An interval that follows the merged model's validation loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from swarm.records import SyncState
from swarm.sync.base import SyncPolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

RANGE = 8
"""The interval stays between 1/8 and 8 times ``sync_interval``. Without a limit it diverges with skewed data."""
TOLERANCE = 0.01
"""Fraction of the previous loss by which the loss must fall to count as an improvement."""


class ValidationInterval(SyncPolicy):
    """Merge less often while the merged model improves, and more often if it does not.

    The criterion is the weighted mean of the peers' validation losses of the merged model. If it falls by more than
    1 % from one round to the next, the interval grows by a quarter, rounded up. Otherwise, or if a loss is not finite,
    it halves. The first loss is only stored. A round without losses changes nothing.
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
        total = sum(weight for weight, _ in losses)
        if total == 0:
            return state
        if not all(math.isfinite(loss) for weight, loss in losses if weight):
            return SyncState(self._bounded(state.interval // 2), state.loss)
        # fsum rounds once, so the result does not depend on the order of the peers
        loss = math.fsum(value * (weight / total) for weight, value in losses if weight)
        if state.loss is None:
            return SyncState(state.interval, loss)
        if loss < state.loss - TOLERANCE * abs(state.loss):
            return SyncState(self._bounded(-(-5 * state.interval // 4)), loss)
        return SyncState(self._bounded(state.interval // 2), loss)

    def _bounded(self, interval: int) -> int:
        return min(self.highest, max(self.lowest, interval))

"""An interval that follows the training loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from swarm.records import SyncState
from swarm.sync.base import Signal, SyncPolicy
from swarm.sync.typical import typical

if TYPE_CHECKING:
    from collections.abc import Sequence


class AdaComm(SyncPolicy):
    """Merge more and more often while the training loss falls (AdaComm: Wang and Joshi, 2019, arXiv 1810.08313).

    The interval is ``sync_interval`` times the root of the loss over the first one, rounded up: many batches while each
    of them still helps, few when what remains is the noise of each peer. It is for a constant learning rate.

    The paper also halves the interval at regular times if the loss has not shortened it; this policy does not.
    """

    name: ClassVar[str] = "adacomm"
    signal = Signal.TRAINING_LOSS

    @property
    def highest(self) -> int:
        """The largest interval: ``sync_interval``."""
        return self.interval

    def next(self, state: SyncState, signals: Sequence[tuple[int, float]]) -> SyncState:
        """The state after a round with these losses; those of 0 and below change nothing."""
        loss = typical(signals) if any(weight for weight, _ in signals) else math.inf
        if not (math.isfinite(loss) and loss > 0):
            return state
        if state.reference is None:
            return SyncState(state.interval, loss)
        wanted = min(self.highest, math.sqrt(loss / state.reference) * self.interval)
        return SyncState(self.bounded(math.ceil(wanted)), state.reference)

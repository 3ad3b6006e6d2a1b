"""An interval that follows the learning rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from swarm.records import SyncState
from swarm.sync.base import Signal, SyncPolicy
from swarm.sync.typical import typical

if TYPE_CHECKING:
    from collections.abc import Sequence


class QuadraticSynchronization(SyncPolicy):
    """Merge less and less often while the learning rate decays (QSR: Gu et al., ICLR 2024, arXiv 2310.14423).

    The interval is ``sync_interval`` times the square of the highest learning rate so far over the present one, rounded
    down. The paper's constant is so chosen here that the highest learning rate gives ``sync_interval``, which is also
    the smallest interval. Under a constant learning rate nothing changes.
    """

    name: ClassVar[str] = "qsr"
    signal = Signal.LEARNING_RATE

    @property
    def lowest(self) -> int:
        """The smallest interval: ``sync_interval``."""
        return self.interval

    def next(self, state: SyncState, signals: Sequence[tuple[int, float]]) -> SyncState:
        """The state after a round with these learning rates; those of 0 and below change nothing."""
        rate = typical(signals) if any(weight for weight, _ in signals) else math.inf
        if not (math.isfinite(rate) and rate > 0):
            return state
        highest = max(rate, state.reference or 0.0)
        return SyncState(self.bounded(math.floor(self.interval * min(highest / rate, self.highest) ** 2)), highest)

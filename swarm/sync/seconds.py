"""An interval in seconds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from swarm.records import SyncState
from swarm.sync.base import Signal, SyncPolicy
from swarm.sync.typical import typical

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS = 600.0
LARGEST = 1000
"""The interval is at most this many times ``sync_interval``."""


class SecondsInterval(SyncPolicy):
    """As many batches as the typical peer trains in a number of seconds.

    The first interval is ``sync_interval``.
    """

    name: ClassVar[str] = "seconds"
    signal = Signal.BATCH_SECONDS

    def __init__(self, interval: int, seconds: float = SECONDS) -> None:
        """Create the policy of one session.

        Args:
            interval: the session's ``sync_interval``, in local batches.
            seconds: from merge to merge, above 0.
        """
        super().__init__(interval)
        self._seconds = seconds

    @property
    def lowest(self) -> int:
        """The smallest interval: one batch."""
        return 1

    @property
    def highest(self) -> int:
        """The largest one."""
        return LARGEST * self.interval

    def next(self, state: SyncState, signals: Sequence[tuple[int, float]]) -> SyncState:
        """The state after a round with these seconds of a batch; those of 0 and below change nothing."""
        batch = typical(signals) if any(weight for weight, _ in signals) else math.inf
        if not (math.isfinite(batch) and batch > 0):
            return state
        return SyncState(self.bounded(self._seconds / batch))

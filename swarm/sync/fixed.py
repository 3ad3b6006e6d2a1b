"""An interval that never changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from swarm.sync.base import SyncPolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swarm.records import SyncState


class FixedInterval(SyncPolicy):
    """Merge every ``sync_interval`` batches, whatever the peers tell."""

    name: ClassVar[str] = "fixed"

    def next(self, state: SyncState, signals: Sequence[tuple[int, float]]) -> SyncState:
        """The same state."""
        return state

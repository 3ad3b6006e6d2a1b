"""The interface of a sync policy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from swarm.records import SyncState

if TYPE_CHECKING:
    from collections.abc import Sequence


class SyncPolicy(ABC):
    """How the sync interval follows the training.

    Every peer of a session makes its policy from the same ``sync_interval`` and feeds it the same losses, and must
    arrive at the same interval. So a policy remembers nothing beside the interval it was made from: what it needs of
    the past is in the ``SyncState``, which travels with each committed round and reaches late joiners too.
    """

    name: ClassVar[str]
    needs_loss: ClassVar[bool] = False
    """Whether it makes sense only where every peer validates the merged model; a peer that does not is refused."""

    def __init__(self, interval: int) -> None:
        """Make the policy of one session.

        Args:
            interval: the session's ``sync_interval``, in local batches, at least 1.
        """
        self.interval = interval

    def start(self) -> SyncState:
        """The state before the first round."""
        return SyncState(self.interval)

    @abstractmethod
    def next(self, state: SyncState, losses: Sequence[tuple[int, float]]) -> SyncState:
        """The state after a round.

        Args:
            state: as it was before the round.
            losses: (weight, validation loss of the last merged model on its data) of each peer that has one, in any
                order. It may be empty, and a loss may be NaN or infinite.

        Returns:
            The next state, the same for any order of the losses, with an interval of at least 1.
        """

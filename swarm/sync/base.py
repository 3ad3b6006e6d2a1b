"""The interface of a sync policy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from swarm.records import SyncState

if TYPE_CHECKING:
    from collections.abc import Sequence


class SyncPolicy(ABC):
    """Sets the sync interval during the training.

    Every peer of a session creates its policy from the same ``sync_interval``. With the same losses all policies must
    return the same interval. So a policy stores nothing but its initial interval. The state is the ``SyncState``, which
    is part of each committed round, so peers that join late receive it too.
    """

    name: ClassVar[str]
    needs_loss: ClassVar[bool] = False
    """Whether every peer must validate the merged model. A peer that does not is rejected."""

    def __init__(self, interval: int) -> None:
        """Create the policy of one session.

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
            state: the state before the round.
            losses: (weight, validation loss of the last merged model on its data) of each peer that has one, in any
                order. It may be empty, and a loss may be NaN or infinite. Peers may also tell false ones: see
                ``typical_loss``.

        Returns:
            The next state, the same for any order of the losses, with an interval of at least 1.
        """

"""The interface of a sync policy."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from swarm.records import SyncState

if TYPE_CHECKING:
    from collections.abc import Sequence

RANGE = 8
"""The policies of this package keep the interval between 1/8 and 8 times ``sync_interval``: without a limit it diverges
with skewed data, or with a learning rate that goes to 0."""


class Signal(enum.StrEnum):
    """What a sync policy follows; each peer tells its own with what it offers."""

    NONE = "nothing"
    VALIDATION_LOSS = "the validation loss of the last merged model"
    TRAINING_LOSS = "the training loss of the last batch"
    LEARNING_RATE = "the learning rate"
    DISTANCE = "how far the weights have moved since the last merge"
    BATCH_SECONDS = "the seconds of a batch"

    @property
    def of_training(self) -> bool:
        """Whether a peer that has finished its training has none."""
        return self not in {Signal.NONE, Signal.VALIDATION_LOSS}


class SyncPolicy(ABC):
    """Sets the sync interval during the training.

    Every peer of a session creates its policy from the same settings. With the same signals all policies must return
    the same interval. So a policy stores nothing but settings. The state is the ``SyncState``, which is part of each
    committed round, so peers that join late receive it too.
    """

    name: ClassVar[str]
    signal: Signal = Signal.NONE
    """What it follows. A peer that has no such signal is rejected."""

    def __init_subclass__(cls) -> None:
        """Refuse a policy that says in the former way what it follows: it would be told nothing.

        Raises:
            TypeError: it has ``needs_loss``.
        """
        super().__init_subclass__()
        if "needs_loss" in vars(cls):
            raise TypeError(
                f"{cls.__name__}.needs_loss is no longer read: write signal = Signal.VALIDATION_LOSS, of swarm.sync"
            )

    def __init__(self, interval: int) -> None:
        """Create the policy of one session.

        Args:
            interval: the session's ``sync_interval``, in local batches, at least 1.
        """
        self.interval = interval

    @property
    def lowest(self) -> int:
        """The smallest interval, in batches, of the policies of this package."""
        return max(1, self.interval // RANGE)

    @property
    def highest(self) -> int:
        """The largest one."""
        return RANGE * self.interval

    def bounded(self, interval: float) -> int:
        """The nearest interval that is neither smaller nor larger, as a whole number."""
        return round(min(self.highest, max(self.lowest, interval)))

    def start(self) -> SyncState:
        """The state before the first round."""
        return SyncState(self.interval)

    @abstractmethod
    def next(self, state: SyncState, signals: Sequence[tuple[int, float]]) -> SyncState:
        """The state after a round.

        Args:
            state: the state before the round.
            signals: (weight, signal) of each peer that has one, in any order. It may be empty, and a signal may be NaN
                or infinite. Peers may also tell false ones: see ``typical``.

        Returns:
            The next state, the same for any order of the signals, with an interval of at least 1.
        """

"""What the training of one site consists of besides the weights that are merged, so that it can be resumed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

Tree = Any
"""None, a bool, number, text or NumPy array, or a list, tuple, dict or Counter of such trees.

Keys are texts or integers.
"""


class TrainingState(ABC):
    """Optimizers, schedules of the learning rate, and what else a script has that changes while it trains.

    It stays at the site: its checkpoints have it. Used on the training thread only.
    """

    @abstractmethod
    def read(self) -> Tree:
        """The state now. Its arrays are copies, which never change afterwards."""

    @abstractmethod
    def write(self, state: Tree) -> None:
        """Set the state to one that ``read`` has returned in an earlier run of the same script.

        Raises:
            ModelError: it is that of another optimizer, or of another schedule.
        """

    def common(self) -> TrainingState | None:
        """What all processes of a site have alike, where each has a part of the model, and so of the optimizers.

        None where that is nothing.
        """
        return None

"""The seam between a framework's model and the swarm."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarm.state import ModelState, Schema


class ModelPort(ABC):
    """One framework's way to copy a model's tensors out and in.

    The session calls a port on the training thread only, between batches.
    """

    @abstractmethod
    def schema(self) -> Schema:
        """The model's tensors in a fixed order.

        Raises:
            ModelError: the model is not built, or holds a tensor that cannot be merged.
        """

    @abstractmethod
    def read(self, into: ModelState) -> None:
        """Copy every tensor's values into ``into``, whose memory the caller owns."""

    @abstractmethod
    def write(self, state: ModelState) -> None:
        """Set the model's tensors from ``state``, in place: optimizers keep the same parameter objects."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Loss and metrics of the merged model on this peer's validation data."""

    loss: float
    metrics: dict[str, float] = field(default_factory=dict)
    samples: int = 1


Evaluator = Callable[[], Evaluation]
"""Evaluates the model as it stands, in evaluation mode, and restores mode and random state."""

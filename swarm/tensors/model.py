"""The interface between a framework's model and the swarm."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from swarm.errors import ConfigurationError, ModelError
from swarm.former import accepts_former_names
from swarm.overrides import is_outdated
from swarm.tensors.state import ModelState, TensorKind

if TYPE_CHECKING:
    from swarm.tensors.state import Array, Schema


@accepts_former_names
class ModelPort(ABC):
    """Reads and writes the tensors of one framework's model.

    The session calls a port on the training thread only, between batches.

    ``borrow``, ``update`` and ``add`` are shortcuts. A class that overrides ``read``, or for ``update`` and ``add``
    also ``write``, does not inherit them: what it reads and writes always counts.
    """

    def __init_subclass__(cls) -> None:
        """Drop inherited shortcuts that no longer fit."""
        super().__init_subclass__()
        if is_outdated(cls, "borrow", "read"):
            cls.borrow = ModelPort.borrow  # type: ignore[method-assign]
        if is_outdated(cls, "update", "read", "write"):
            cls.update = ModelPort.update  # type: ignore[method-assign]
        if is_outdated(cls, "add", "read", "write"):
            cls.add = ModelPort.add  # type: ignore[method-assign]

    @abstractmethod
    def schema(self) -> Schema:
        """The tensors that take part, as ``share`` and ``local`` select them, in a fixed order.

        Raises:
            ModelError: the model is not built, has a tensor that cannot be merged, or does not match the selection.
        """

    @abstractmethod
    def read(self, into: ModelState) -> None:
        """Copy the values of those tensors into ``into``, whose memory the caller owns."""

    def borrow(self, schema: Schema) -> Sequence[Array] | None:
        """Views of those tensors, as contiguous arrays in the order of ``schema``; read only.

        The caller uses them only until training continues. A tensor that is not contiguous may be copied. None if the
        model's memory cannot be read directly, as on a GPU: then the caller uses ``read``.

        Args:
            schema: as it was when training began.

        Raises:
            ModelError: the model has changed since.
        """
        return None

    @abstractmethod
    def write(self, state: ModelState) -> None:
        """Set those tensors from ``state``, in place: optimizers keep the same parameter objects."""

    def update(self, state: ModelState) -> None:
        """Set those tensors from ``state``, in place, except those of which the site keeps its own values.

        This implementation reads and writes those as well; a framework that can leave them out saves the copies.
        """
        if state.schema.kept.tensors:
            own = ModelState.empty(state.schema)
            self.read(own)
            for (spec, mine), (_, theirs) in zip(own.arrays(), state.arrays(), strict=True):
                if not spec.kept:
                    mine[...] = theirs
            state = own
        self.write(state)

    def add(self, step: ModelState) -> None:
        """Add an update in place: weights += step. Statistics, counters and module state are set to those of ``step``.

        Tensors of which the site keeps its own values do not change.

        The step of half-precision weights is float32: the sum is computed in float32 and rounded once. This
        implementation reads, adds and writes; a framework that can add in place saves the copies.
        """
        model = ModelState.empty(step.schema)
        self.read(model)
        with np.errstate(over="ignore", invalid="ignore"):
            for (spec, mine), (_, theirs) in zip(model.arrays(), step.arrays(), strict=True):
                if spec.kept:
                    continue
                if spec.kind is TensorKind.WEIGHT:
                    np.add(mine, theirs, out=mine, casting="same_kind")
                else:
                    mine[...] = theirs
        self.write(model)


class Correction(ABC):
    """Changes the gradients of a local training by what the swarm has committed. Used on the training thread only."""

    @abstractmethod
    def follow(self, committed: ModelState, *, unmerged: int) -> None:
        """Training goes on from this committed model, which never changes, and ``unmerged`` local batches after it."""

    @abstractmethod
    def stop(self) -> None:
        """The session is over: gradients stay as they are from now on. May be called more than once."""


def changed(difference: str) -> ModelError:
    """The error for a model whose tensors have changed since training began."""
    return ModelError(
        f"the model changed since training began: {difference} (here: now, there: at the start);"
        " tensors that this site adds, removes or reshapes belong in `local`;"
        " if layers get their shapes from the first batch, pass one through the model before training begins"
    )


def without_samples(val_data: object) -> ConfigurationError:
    """The error for validation data without a sample, for every framework."""
    size = getattr(val_data, "batch_size", None)
    if getattr(val_data, "drop_last", False) and len(getattr(val_data, "dataset", None) or ()):
        reason = f": it has fewer than batch_size={size} samples, and drop_last=True drops them"
    elif isinstance(val_data, Iterator):
        reason = ": it is empty, or has been read before, and gave no batch"
    else:
        reason = ""
    return ConfigurationError(
        f"val_data, a {type(val_data).__name__}, holds no samples{reason}; give at least one, or leave val_data out"
    )


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Loss and metrics of the merged model on this peer's validation data."""

    loss: float
    metrics: dict[str, float] = field(default_factory=dict)
    samples: int = 1


@dataclass(frozen=True, slots=True)
class LearningRate:
    """The learning rate of a training, as its framework knows it."""

    now: Callable[[], float]
    """The present one; the highest where there are several."""
    decays: bool = False
    """Whether a schedule changes it."""


Evaluator = Callable[[], Evaluation]
"""Evaluates the current model in evaluation mode, and restores mode and random state."""

"""The state of the optimizers that train a model: merged with its weights, or reset when a merged model is loaded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from swarm.errors import ConfigurationError
from swarm.tensors.model import ModelPort
from swarm.tensors.state import ModelState, Schema, TensorKind, TensorSpec, numpy_dtype

if TYPE_CHECKING:
    from swarm.tensors.state import Array

StateArrays = Sequence[tuple[TensorSpec, "Array"]]
"""The tensors of optimizers in a model, with their values."""
MOMENT_DTYPE = "bfloat16"
STEPS_DTYPE = "int64"
MOST_STEPS = 2**53
"""The largest step counter that is set: far above any real one, and far below what the counters of frameworks hold."""


class OptimizerState(ABC):
    """Reads and writes the state of the optimizers of one framework. Used on the training thread only.

    ``setting`` is the value of ``optimizer_state``, for messages.
    """

    def __init__(self, setting: str) -> None:
        self._setting = setting

    @abstractmethod
    def tensors(self, model: Schema) -> tuple[TensorSpec, ...]:
        """The state that belongs to the weights of ``model``: all moments, then the step counters.

        Raises:
            ConfigurationError: there is no optimizer, or one whose state cannot be merged or reset.
        """

    @abstractmethod
    def read(self, into: StateArrays) -> None:
        """Copy the state to ``into``, whose memory the caller owns; zeros where there is none."""

    @abstractmethod
    def write(self, state: StateArrays, *, keep: bool = False) -> None:
        """Set the state in place. Where the step counter is 0, the optimizer keeps its own.

        With ``keep``, so it does for the weights of which the site keeps its own values.
        """

    @abstractmethod
    def reset(self) -> None:
        """Make the state of those weights as it was before the first step."""

    def unknown(self, name: str, known: Iterable[str], reason: str = "") -> ConfigurationError:
        """The error for an optimizer whose state cannot be merged or reset."""
        what = reason or "whose state is not known"
        return ConfigurationError(
            f"optimizer_state={self._setting!r} cannot be used with the optimizer {name}, {what}: use one of"
            f' {", ".join(known)}, or set optimizer_state="keep" at every peer'
        )


def moment(role: str, weight: TensorSpec, kind: TensorKind) -> TensorSpec:
    """The moment of a weight, which the site keeps if it keeps the weight; ``role`` is as ``optimizer.exp_avg``."""
    return TensorSpec(f"{role} of {weight.name}", weight.shape, MOMENT_DTYPE, kind, kept=weight.kept)


def steps(optimizer: str, shape: tuple[int, ...]) -> TensorSpec:
    """The step counters of an optimizer, which is called for example ``optimizer``."""
    return TensorSpec(f"{optimizer}.step", shape, STEPS_DTYPE, TensorKind.STEPS)


@lru_cache(maxsize=64)  # the same for all parameters
def nadam_product(beta: float, decay: float, step: int) -> float:
    """What NAdam has multiplied up by this step: the product of its momenta, from the first step on.

    Source: Dozat 2016, "Incorporating Nesterov Momentum into Adam". Frameworks keep it instead of computing it.
    """
    product = 1.0
    for number in range(1, step + 1):
        product *= beta * (1.0 - 0.5 * 0.96 ** (number * decay))
        if product < np.finfo(np.float32).tiny:
            return 0.0
    return product


def with_optimizer(port: ModelPort, state: OptimizerState, setting: Literal["keep", "reset", "merge"]) -> ModelPort:
    """The port of a model whose optimizers' state is treated as the setting ``optimizer_state`` says."""
    if setting == "merge":
        return MergedOptimizerPort(port, state)
    return ResetOptimizerPort(port, state) if setting == "reset" else port


class MergedOptimizerPort(ModelPort):
    """A model together with the state of its optimizers, whose tensors follow those of the model."""

    def __init__(self, port: ModelPort, state: OptimizerState) -> None:
        self._port = port
        self._state = state
        self._buffers: list[Array] = []
        """Of the state of optimizers in a borrowed model."""

    def schema(self) -> Schema:
        model = self._port.schema()
        return Schema((*model.tensors, *self._state.tensors(model)), model.spectral)

    def read(self, into: ModelState) -> None:
        self._port.read(into.of_model())
        self._state.read(_of_optimizer(into))

    def borrow(self, schema: Schema) -> list[Array] | None:
        borrowed = self._port.borrow(schema.of_model)
        if borrowed is None:
            return None
        specs = [spec for spec in schema.tensors if spec.kind.of_optimizer]
        self._buffers = self._buffers or [np.empty(spec.shape, numpy_dtype(spec.dtype)) for spec in specs]
        self._state.read(list(zip(specs, self._buffers, strict=True)))
        return [*borrowed, *self._buffers]

    def write(self, state: ModelState) -> None:
        self._port.write(state.of_model())
        self._state.write(_of_optimizer(state))

    def update(self, state: ModelState) -> None:
        """Set all but the weights of which the site keeps its own values, and their moments."""
        self._port.update(state.of_model())
        self._state.write(_of_optimizer(state), keep=True)

    def add(self, step: ModelState) -> None:
        """Add to the weights. The state of the optimizers is replaced, as in ``update``."""
        self._port.add(step.of_model())
        self._state.write(_of_optimizer(step), keep=True)


class ResetOptimizerPort(ModelPort):
    """A model whose optimizers begin anew with each merged model."""

    def __init__(self, port: ModelPort, state: OptimizerState) -> None:
        self._port = port
        self._state = state

    def schema(self) -> Schema:
        schema = self._port.schema()
        self._state.tensors(schema)
        return schema

    def read(self, into: ModelState) -> None:
        self._port.read(into)

    def borrow(self, schema: Schema) -> Sequence[Array] | None:
        return self._port.borrow(schema)

    def write(self, state: ModelState) -> None:
        self._port.write(state)
        self._state.reset()

    def update(self, state: ModelState) -> None:
        self._port.update(state)
        self._state.reset()

    def add(self, step: ModelState) -> None:
        self._port.add(step)
        self._state.reset()


def _of_optimizer(model: ModelState) -> StateArrays:
    return [(spec, array) for spec, array in model.arrays() if spec.kind.of_optimizer]

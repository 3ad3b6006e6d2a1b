"""The state of a Keras training besides the weights of the model: the variables of its optimizer."""

from __future__ import annotations

from typing import Any

import numpy as np

from swarm.errors import ModelError
from swarm.tensors import TrainingState, Tree
from swarm_keras.port import attach_state, values_of


class KerasTrainingState(TrainingState):
    """The variables of the optimizer that a model is compiled with: moments, learning rate and number of steps.

    So a schedule of the learning rate goes on where it was. The scale of a ``LossScaleOptimizer`` is among them.

    Args:
        model: has the optimizer when training begins.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def read(self) -> Tree:
        optimizer = getattr(self._model, "optimizer", None)
        if optimizer is None or not optimizer.built:
            return {"optimizer": None, "variables": []}
        attach_state(self._model)
        values = [np.array(values_of(variable)) for variable in optimizer.variables]
        return {"optimizer": type(optimizer).__name__, "variables": values}

    def write(self, state: Tree) -> None:
        try:
            kind, values = state["optimizer"], state["variables"]
        except (KeyError, TypeError) as error:
            raise ModelError(f"it is not that of a Keras training ({error!r})") from error
        if kind is None:
            return
        optimizer: Any = getattr(self._model, "optimizer", None)
        here = type(optimizer).__name__ if optimizer is not None else "none"
        if kind != here:
            raise ModelError(f"the optimizer was {kind} when the checkpoint was written, and is {here} now")
        if not optimizer.built:
            optimizer.build(self._model.trainable_variables)
        attach_state(self._model)
        shapes = [tuple(variable.shape) for variable in optimizer.variables]
        if shapes != [value.shape for value in values]:
            raise ModelError(f"{kind} had other variables when the checkpoint was written")
        for variable, value in zip(optimizer.variables, values, strict=True):
            variable.assign(value)

"""The state of a Keras training besides the weights of the model: the variables of its optimizers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from swarm.errors import ModelError
from swarm.tensors import TrainingState, Tree
from swarm_keras.port import attach_state, values_of


class KerasTrainingState(TrainingState):
    """The variables of the optimizers of a model: moments, learning rate and number of steps.

    So a schedule of the learning rate goes on where it was. The scale of a ``LossScaleOptimizer`` is among them. The
    optimizers are that which the model is compiled with, and all others that are attributes of it or of a model inside
    it, alone or in a list, tuple or dict: a GAN has two. One that has made no step has no variables yet.

    Args:
        model: has the optimizers when training begins.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def read(self) -> Tree:
        optimizers = {name: each for name, each in _optimizers(self._model).items() if each.built}
        if optimizers:
            attach_state(self._model)
        return {"optimizers": {name: self._state(optimizer) for name, optimizer in optimizers.items()}}

    def write(self, state: Tree) -> None:
        here = _optimizers(self._model)
        values: list[tuple[Any, Any]] = []
        try:
            for name, found in state["optimizers"].items():
                optimizer = self._built(name, here.get(name), found)
                values += zip(optimizer.variables, found["variables"], strict=True)
        except (AttributeError, KeyError, TypeError, IndexError) as error:
            raise ModelError(f"it is not that of a Keras training ({error!r})") from error
        if values:
            attach_state(self._model)
        for variable, value in values:
            variable.assign(value)

    def _state(self, optimizer: Any) -> Tree:
        return {
            "kind": type(optimizer).__name__,
            "trains": self._trains(optimizer),
            "variables": [np.array(values_of(variable)) for variable in optimizer.variables],
        }

    def _trains(self, optimizer: Any) -> list[int | None]:
        """The variables that an optimizer was built for, by their place in ``model.weights``; None for any other."""
        places = {id(weight): place for place, weight in enumerate(self._model.weights)}
        # there is no public way; a GAN has an optimizer for each of its two parts
        return [places.get(id(variable)) for variable in optimizer._trainable_variables]  # noqa: SLF001

    def _built(self, name: str, optimizer: Any, found: Any) -> Any:
        """An optimizer of the model, with the variables that it had.

        Raises:
            ModelError: it is another one.
        """
        kind, now = found["kind"], "none" if optimizer is None else type(optimizer).__name__
        if kind != now:
            raise ModelError(f"the {name} was {kind} when the checkpoint was written, and is {now} now")
        if not optimizer.built:
            if None in found["trains"]:
                raise ModelError(f"the {name} trains variables that the model does not have")
            weights = self._model.weights
            optimizer.build([weights[place] for place in found["trains"]])
        shapes = [tuple(variable.shape) for variable in optimizer.variables]
        if self._trains(optimizer) != found["trains"] or shapes != [value.shape for value in found["variables"]]:
            raise ModelError(f"the {name} ({kind}) had other variables when the checkpoint was written")
        return optimizer


def _optimizers(model: Any) -> dict[str, Any]:
    """The optimizers of a model and of the models inside it, each once, by name and in the order of the names."""
    models = [each for each in model._flatten_layers() if each is model or isinstance(each, keras.Model)]  # noqa: SLF001
    found: dict[str, Any] = {}
    for number, each in enumerate(models):
        prefix = f"{each.name}#{number}." if number else ""
        found |= {f"{prefix}{name}": value for name, value in _attributes(each)}
    known: dict[int, str] = {}
    for name in sorted(found):
        known.setdefault(id(found[name]), name)
    return {name: found[name] for name in known.values()}


def _attributes(model: Any) -> Iterator[tuple[str, Any]]:
    """The attributes that are optimizers, and the items of those that are a list, a tuple or a dict."""
    for name, value in vars(model).items():
        if name.startswith("_self_"):  # where TensorFlow notes the attributes itself
            continue
        items: Any = {"": value}
        if isinstance(value, dict):
            items = {f"[{key!r}]": item for key, item in value.items()}
        elif isinstance(value, (list, tuple)):
            items = {f"[{number}]": item for number, item in enumerate(value)}
        yield from (
            (name + place, item) for place, item in items.items() if isinstance(item, keras.optimizers.Optimizer)
        )

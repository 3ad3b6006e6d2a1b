"""Estimates the running statistics of BatchNormalization layers for the weights that a model has now."""

from __future__ import annotations

import contextlib
import inspect
import sys
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from swarm_keras.port import layers_of, values_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray


def layers_with_statistics(model: Any) -> list[Any]:
    """The BatchNormalization layers of ``model`` that update their statistics in training; frozen ones do not."""
    return [
        layer
        for layer in layers_of(model)
        if isinstance(layer, keras.layers.BatchNormalization)
        and layer.built
        and layer.trainable
        and "training" in inspect.signature(layer.call).parameters
    ]


def mean_statistics(model: Any, batches: Iterable[Any]) -> list[tuple[Any, NDArray[np.float64]]]:
    """The statistics of ``model``, each variable with its mean over some batches, by samples.

    The model is called eagerly, in inference mode except for the layers with statistics, so dropout is off. The calls
    change variables of the model, which the caller restores.

    Args:
        model: a built model.
        batches: the inputs of the model, each of more than one sample.

    Returns:
        Variables of shape (channels,) with their means; none for a layer that no batch went through.

    Raises:
        Exception: any exception of the model, also because it compiles a part of itself that contains such a layer.
    """
    means = [_Means(layer) for layer in layers_with_statistics(model)]
    inference = {"training": False} if "training" in inspect.signature(model.call).parameters else {}
    with contextlib.ExitStack() as stack:
        if keras.backend.backend() == "torch":
            stack.enter_context(sys.modules["torch"].no_grad())
        for each in means:
            stack.enter_context(each.collected())
        for inputs in batches:
            model(keras.tree.map_structure(_tensor, inputs), **inference)
    return [pair for each in means for pair in each.pairs()]


class _Means:
    """The mean statistics of one layer over its calls, weighted by the samples in each."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        # The standard deviation exists with renorm=True only.
        found = (getattr(layer, name, None) for name in ("moving_mean", "moving_variance", "moving_stddev"))
        self._variables = [variable for variable in found if variable is not None]
        self._sums = [np.zeros(tuple(variable.shape)) for variable in self._variables]
        self._samples = 0

    def pairs(self) -> list[tuple[Any, NDArray[np.float64]]]:
        """The variables and their means, if there was a call."""
        means = [total / self._samples for total in self._sums] if self._samples else []
        return list(zip(self._variables, means, strict=False))

    @contextlib.contextmanager
    def collected(self) -> Iterator[None]:
        """Let each call of the layer be one of training, and collect the statistics of its batch."""
        layer, call, momentum = self._layer, self._layer.call, self._layer.momentum

        def in_training(*inputs: Any, **options: Any) -> Any:
            outputs = call(*inputs, **{**options, "training": True})
            # An error while a function is being compiled, which then is not kept: its variables have no values yet.
            samples = len(inputs[0] if inputs else options["inputs"])
            pairs = zip(self._sums, self._variables, strict=True)
            self._sums = [total + samples * values_of(each) for total, each in pairs]
            self._samples += samples
            return outputs

        attributes = vars(layer)  # past the tracking of Keras, so that nothing is left of it
        own = {"call": attributes["call"]} if "call" in attributes else {}
        attributes["call"] = in_training
        layer.momentum = 0.0  # the moving statistics become those of the batch
        try:
            yield
        finally:
            layer.momentum = momentum
            del attributes["call"]
            attributes.update(own)


def _tensor(leaf: Any) -> Any:
    """A tensor of the backend, on its device; the data may be of another framework."""
    if leaf is None:
        return None
    return keras.ops.convert_to_tensor(leaf if keras.ops.is_tensor(leaf) else np.asarray(leaf))

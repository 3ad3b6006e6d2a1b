"""Validation of the merged model during ``fit``."""

from __future__ import annotations

import contextlib
import logging
import math
import random
import sys
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from swarm.errors import ConfigurationError, ModelError
from swarm.tensors import Evaluation
from swarm_keras.port import attach_state, values_of
from swarm_keras.statistics import layers_with_statistics, mean_statistics
from swarm_keras.validation_data import inputs_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class KerasEvaluator:
    """Evaluates a compiled model with ``model.evaluate``, which the model may have overridden.

    A running ``fit`` is not affected: the metrics of its epoch, seeds and modes are restored.
    """

    def __init__(
        self,
        model: Any,
        arguments: Mapping[str, Any],
        *,
        own_statistics: bool = False,
        logger: logging.Logger | None = None,
    ) -> None:
        """Keep the model and the arguments of ``model.evaluate``. Nothing is evaluated yet.

        ``own_statistics`` tells whether this site keeps its own statistics of BatchNormalization layers. They are then
        estimated anew before each evaluation: the running ones are of the weights before the merge.
        """
        self._model = model
        self._arguments = arguments
        self._own_statistics = own_statistics
        self._logger = logger or logging.getLogger("swarm")
        self._warned = False

    def __call__(self) -> Evaluation:
        """Loss and scalar metrics over the validation data.

        Raises:
            ConfigurationError: no sample of the data has a positive weight.
            ModelError: the model's own ``test_step`` reports no loss.
        """
        if self._own_statistics and layers_with_statistics(self._model):
            self._estimate()
        with undisturbed(self._model):
            values = self._model.evaluate(**self._arguments, verbose=0, return_dict=True)
            samples = _samples(self._model)
        if not samples:
            raise ConfigurationError(
                "val_data gave no samples this time, or none with a positive sample weight: give data that can be read "
                "again"
            )
        if "loss" not in values:
            raise ModelError(f"evaluate() of model {self._model.name!r} reports {sorted(values)}, but no 'loss'")
        metrics = {name: float(value) for name, value in values.items() if name != "loss" and np.ndim(value) == 0}
        return Evaluation(loss=float(values["loss"]), metrics=metrics, samples=samples)

    def _estimate(self) -> None:
        """Set the statistics to their mean over the batches. Without one, or after an error, they stay as they were."""
        statistics, problem = [], "no batch of at least two samples goes through one of them"
        try:
            with undisturbed(self._model):
                statistics = mean_statistics(self._model, inputs_of(self._arguments))
        except Exception as error:  # noqa: BLE001  (the user's code)
            problem = " ".join(f"{type(error).__name__}: {error}".split())
        for variable, mean in statistics:
            variable.assign(mean)
        if not statistics and not self._warned:
            self._warned = True
            self._logger.warning(
                "the statistics of the BatchNormalization layers of model %r could not be estimated on val_data, so"
                " the running ones, of this site's weights before the merge, stay: %s",
                self._model.name,
                problem,
            )


@contextlib.contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Restore the model's variables and metrics, its modes, and the random state at the end, also after an error.

    The weights are included because a failed evaluation on JAX leaves the model with the weights of the last train
    step, from before the merge.
    """
    attach_state(model)
    kept = [(variable, values_of(variable).copy()) for variable in (*model.variables, *model.metrics_variables)]
    modes = [(part, part.training) for part in model.modules()] if keras.backend.backend() == "torch" else []
    try:
        with _random_state():
            yield
    finally:
        attach_state(model)
        model.reset_metrics()  # including those that the evaluation has created
        for variable, value in kept:
            variable.assign(value)
        for part, training in modes:
            part.training = training


@contextlib.contextmanager
def _random_state() -> Iterator[None]:
    """Restore the random state that shuffled data sets use."""
    torch: Any = sys.modules.get("torch")
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global state is what they use
    generator = torch.get_rng_state() if torch else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        if torch:
            torch.set_rng_state(generator)


def _samples(model: Any) -> int:
    """Number of samples of the loss tracker; 1 if the model has its own tracker."""
    for metric in model.metrics:
        if metric.name == "loss" and isinstance(metric, keras.metrics.Mean):
            return math.ceil(float(metric.count))
    return 1

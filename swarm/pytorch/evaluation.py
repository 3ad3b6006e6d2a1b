"""Evaluates the merged model on this peer's validation data."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from swarm.errors import ConfigurationError
from swarm.pytorch.batches import Batch, batches_from, placed
from swarm.pytorch.functions import is_torchmetric, loss_from, mean_loss, metric_from, sample_losses
from swarm.pytorch.names import unwrap
from swarm.pytorch.statistics import estimate_statistics, layers_with_statistics, statistics_of
from swarm.tensors.model import Evaluation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn
    from torch.nn.modules.batchnorm import _NormBase

    from swarm.callback import CallbackArguments
    from swarm.pytorch.functions import Function
    from swarm.tensors.model import Evaluator


OWN_LOSS = "model"
"""The ``loss_function`` of models that compute their loss themselves."""


class TorchEvaluator:
    """Evaluates the current model on ``val_data``.

    Float inputs are converted to the dtype and device of the model. The pass runs in evaluation mode without gradients.
    Afterwards the mode of each submodule and the random states of torch, NumPy and Python are restored. The loss is the
    mean over samples, weighted if the data has sample weights.

    With ``loss_function="model"`` the model gets the targets as ``labels``, as models of Transformers do, and its
    output has the mean loss of the batch as ``loss``. Batches are then mappings, without sample weights.
    """

    def __init__(
        self,
        model: nn.Module,
        val_data: object,
        *,
        loss_function: object,
        loss_function_args: Mapping[str, Any] | None = None,
        metric_function: object = None,
        metric_function_args: Mapping[str, Any] | None = None,
        batch_size: int = 32,
        steps: int = 100,
        own_statistics: bool = False,
    ) -> None:
        """Check the functions, and the form of the data by its first batch. Nothing is evaluated yet.

        ``own_statistics`` tells whether this site keeps its own statistics of normalization layers. They are then
        estimated anew before each evaluation: the running ones are of the weights before the merge. Layers that the
        site has frozen keep theirs. So do all after the first evaluation, before training, when a layer that the
        training loop freezes may not be frozen yet.

        Raises:
            ConfigurationError: ``loss_function`` or ``metric_function`` is unknown, or ``val_data`` has
                none of the documented forms, or is empty.
        """
        self._model = unwrap(model)
        self._own_statistics = own_statistics
        self._layers: list[_NormBase] | None = None
        """Those whose statistics are estimated."""
        self._loss = None if loss_function == OWN_LOSS else loss_from(loss_function, loss_function_args)
        self._metric = None if metric_function is None else metric_from(metric_function, metric_function_args)
        with _undrawn(torch.device("cpu")):
            self._batches = batches_from(val_data, batch_size=batch_size, steps=steps)

    def __call__(self) -> Evaluation:
        """One pass over the validation data.

        Raises:
            ConfigurationError: a batch has none of the documented forms, or no sample has a positive weight.
            Exception: any exception of the model, the loss or the metric. The session logs it and continues training.
        """
        like = next((p for p in self._model.parameters() if p.is_floating_point()), torch.empty(0))
        for function in (self._loss, self._metric[1] if self._metric else None):
            if isinstance(function, torch.nn.Module):
                function.to(like.device)
        begins = self._layers is None
        if self._layers is None or self._model.training:
            self._layers = layers_with_statistics(self._model)
        before = statistics_of(self._layers) if begins else []
        with _untouched(self._model, like.device), torch.no_grad():
            try:
                if self._own_statistics:
                    inputs = (
                        placed(each.inputs, like.device, like.dtype) for each in self._batches() if each.samples > 1
                    )
                    estimate_statistics(self._layers, (partial(_forward, self._model, batch) for batch in inputs))
                return self._evaluate(like.device, like.dtype)
            finally:
                for buffer, old in before:
                    buffer.copy_(old)

    def _evaluate(self, device: torch.device, dtype: torch.dtype) -> Evaluation:
        loss = metric = weight = 0.0
        samples = 0
        accumulates = self._metric is not None and is_torchmetric(self._metric[1])
        function: Any = self._metric[1] if self._metric else None
        if accumulates:
            function.reset()
        for batch in self._batches():
            if not batch.samples:
                continue
            targets = placed(batch.targets, device, dtype)
            inputs = placed(batch.inputs, device, dtype)
            if self._loss is None:
                outputs, batch_loss, batch_weight = _with_own_loss(self._model, batch, inputs, targets)
            else:
                outputs = _forward(self._model, inputs)
                batch_loss, batch_weight = _batch_loss(self._loss, batch, outputs, targets)
            loss += batch_loss
            weight += batch_weight
            samples += batch.samples
            if accumulates:
                function.update(outputs, targets)
            elif function is not None:
                metric += batch.samples * float(function(outputs, targets))
        if not samples:
            raise ConfigurationError(
                "val_data gave no samples this time, and had some at the start: give data that can be read again"
            )
        if weight <= 0:
            raise ConfigurationError("val_data holds no samples with a positive sample weight")
        if self._metric is None:
            return Evaluation(loss / weight, samples=samples)
        name = self._metric[0]
        metrics = _named(name, function.compute()) if accumulates else {name: metric / samples}
        return Evaluation(loss / weight, metrics, samples)


def evaluator_for(arguments: CallbackArguments, model: nn.Module) -> Evaluator | None:
    """The evaluator for the arguments, or None with a log line about the missing argument.

    Raises:
        ConfigurationError: adaptive sync is set without validation, or an argument of the validation is invalid.
    """
    settings = arguments.settings
    if arguments.val_data is None or arguments.loss_function is None:
        missing = "val_data" if arguments.val_data is None else "loss_function"
        if settings.policy == "validation" and (settings.sync_policy or arguments.val_data is not None):
            raise ConfigurationError(
                f"{settings.policy_setting} follows the merged model's validation loss, which for a torch model "
                f"needs val_data and loss_function: {missing} is missing"
            )
        if arguments.val_data is not None:
            (arguments.logger or logging.getLogger("swarm")).warning(
                "val_data is given without loss_function: merging goes on, but the merged model is not validated; "
                "pass loss_function=... to turn validation on"
            )
        return None
    return TorchEvaluator(
        model,
        arguments.val_data,
        loss_function=arguments.loss_function,
        loss_function_args=arguments.loss_function_args,
        metric_function=arguments.metric_function,
        metric_function_args=arguments.metric_function_args,
        batch_size=settings.val_batch_size,
        steps=settings.val_steps,
        own_statistics=settings.normalization != "pooled",
    )


def _batch_loss(loss: Function, batch: Batch, outputs: Any, targets: Any) -> tuple[float, float]:
    """Sum of the losses and sum of the weights of a batch."""
    if batch.weights is None:
        return batch.samples * mean_loss(loss, outputs, targets, batch.samples), float(batch.samples)
    weights = batch.weights.double().cpu()
    losses = sample_losses(loss, outputs, targets, batch.samples).cpu()
    return float(losses @ weights), float(weights.sum())


def _with_own_loss(model: nn.Module, batch: Batch, inputs: Any, targets: Any) -> tuple[Any, float, float]:
    """The outputs of a model that computes its loss, and the sums of losses and weights of the batch."""
    if not isinstance(inputs, Mapping) or batch.weights is not None:
        raise ConfigurationError(
            f"loss_function={OWN_LOSS!r} needs batches of val_data that are mappings, with labels and without sample "
            "weights: give such data, or another loss_function"
        )
    outputs = model(**{**inputs, "labels": targets})
    loss = getattr(outputs, "loss", None)
    if loss is None:
        raise ConfigurationError(
            f"loss_function={OWN_LOSS!r} needs a model that returns its loss, and {type(model).__name__} returned "
            "none: give a loss_function (outputs, targets) -> value"
        )
    return getattr(outputs, "logits", outputs), batch.samples * float(loss), float(batch.samples)


def _forward(model: nn.Module, inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        outputs = model(**inputs)
    elif isinstance(inputs, list):
        outputs = model(*inputs)
    else:
        outputs = model(inputs)
    return getattr(outputs, "logits", outputs)


def _named(name: str, value: Any) -> dict[str, float]:
    if isinstance(value, Mapping):
        return {str(key): float(item) for key, item in value.items()}
    return {name: float(value)}


@contextmanager
def _untouched(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Set evaluation mode; restore the mode of each submodule and every random state at the end."""
    modes = [(module, module.training) for module in model.modules()]
    with _undrawn(device):
        try:
            model.eval()
            yield
        finally:
            for module, training in modes:
                module.training = training


@contextmanager
def _undrawn(device: torch.device) -> Iterator[None]:
    """Restore every random state at the end."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  (the user's code may draw from it)
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002

"""Loss and metric functions, given as callables, as classes, or by name as in HPE's scripts."""

from __future__ import annotations

import copy
import difflib
import inspect
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.nn.modules.loss import _Loss

from swarm.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Function = Callable[[Any, Any], Any]
    """``(outputs, targets) -> value``"""


def loss_from(loss_function: object, keywords: Mapping[str, Any] | None = None) -> Function:
    """The loss function: a callable, or a loss class of ``torch.nn`` or its name, with ``keywords`` to create it.

    Raises:
        ConfigurationError: there is no such loss, or its class cannot be created with ``keywords``.
    """
    if isinstance(loss_function, str):
        known = [name for name, item in vars(nn).items() if isinstance(item, type) and issubclass(item, _Loss)]
        loss_function = getattr(nn, _known("loss_function", loss_function, known, "a loss class of torch.nn"))
    return _callable("loss_function", loss_function, keywords)


def metric_from(metric_function: object, keywords: Mapping[str, Any] | None = None) -> tuple[str, Function]:
    """The metric and its name: like ``loss_from``, from ``torchmetrics``.

    Raises:
        ConfigurationError: there is no such metric, or its class cannot be created with ``keywords``.
        MissingExtraError: a metric is named and torchmetrics is not installed.
    """
    if isinstance(metric_function, str):
        try:
            import torchmetrics
        except ImportError as error:
            raise MissingExtraError(
                f"metric_function={metric_function!r} names a class of torchmetrics, which is not installed: "
                "pip install torchmetrics"
            ) from error
        known = torchmetrics.__all__
        kind = "a metric class of torchmetrics"
        metric_function = getattr(torchmetrics, _known("metric_function", metric_function, known, kind))
    metric = _callable("metric_function", metric_function, keywords)
    name = getattr(metric, "__name__", type(metric).__name__)
    return name if name.isidentifier() else "metric", metric


def is_torchmetric(function: object) -> bool:
    """Whether ``function`` accumulates over batches as a torchmetrics ``Metric`` does."""
    return all(callable(getattr(function, method, None)) for method in ("update", "compute", "reset"))


def mean_loss(loss: Function, outputs: Any, targets: Any, samples: int) -> float:
    """Mean loss of a batch; a loss that sums over the batch is divided by its size."""
    value = loss(outputs, targets)
    mean = float(torch.as_tensor(value).detach().double().mean())
    return mean / samples if getattr(loss, "reduction", None) == "sum" else mean


def sample_losses(loss: Function, outputs: Any, targets: Any, samples: int) -> torch.Tensor:
    """Loss of each sample, float64 of shape ``[samples]``, whatever reduction the loss has."""
    if isinstance(loss, nn.Module) and hasattr(loss, "reduction"):
        unreduced = copy.copy(loss)
        unreduced.reduction = cast("Any", "none")
        values = unreduced(outputs, targets)
    elif _takes_reduction(loss):
        values = cast("Any", loss)(outputs, targets, reduction="none")
    else:
        values = torch.stack(
            [
                torch.as_tensor(loss(outputs[index : index + 1], targets[index : index + 1])).mean()
                for index in range(samples)
            ]
        )
    return cast("torch.Tensor", values).detach().double().reshape(samples, -1).mean(dim=1)


def _callable(parameter: str, function: object, keywords: Mapping[str, Any] | None) -> Function:
    if isinstance(function, type):
        name = function.__name__
        try:
            function = function(**(keywords or {}))
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"{parameter}={name!r} cannot be made with {parameter}_args={keywords!r} ({error}): "
                f"give what it needs in {parameter}_args, or pass an instance, {name}(...)"
            ) from error
    if not callable(function):
        raise ConfigurationError(
            f"{parameter}={function!r} is neither a callable (outputs, targets) -> value nor the name of a class"
        )
    return cast("Function", function)


def _known(parameter: str, name: str, known: list[str], kind: str) -> str:
    if name in known:
        return name
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    raise ConfigurationError(f"{parameter}={name!r} is not {kind}{hint}")


def _takes_reduction(function: object) -> bool:
    try:
        return "reduction" in inspect.signature(cast("Any", function)).parameters
    except (TypeError, ValueError):
        return False

"""Estimates the running statistics of normalization layers for the weights that a model has now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.modules.batchnorm import _NormBase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import nn


def estimate_statistics(model: nn.Module, passes: Iterable[Callable[[], object]]) -> None:
    """Set the running statistics of ``model`` to their mean over some batches.

    Only layers with running statistics are in training mode during the passes, so dropout is off. If a pass fails, or
    there is none, the statistics stay as they were. The number of batches that a layer has seen does not change.

    Args:
        model: in evaluation mode.
        passes: each passes one batch, of more than one sample, through the model.

    Raises:
        Exception: any exception of the model.
    """
    layers = [each for each in model.modules() if isinstance(each, _NormBase) and each.running_mean is not None]
    buffers = [buffer for layer in layers for buffer in layer.buffers(recurse=False)]
    before = [buffer.clone() for buffer in buffers]
    momenta = [layer.momentum for layer in layers]
    seen = 0
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the mean over the batches
            layer.train()
        for each in passes if layers else ():
            each()
            seen += 1
    except BaseException:
        seen = 0
        raise
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
            layer.eval()
        for buffer, old in zip(buffers, before, strict=True):
            if not seen or not torch.is_floating_point(buffer):
                buffer.copy_(old)

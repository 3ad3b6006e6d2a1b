"""Estimates the running statistics of normalization layers for the weights that a model has now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.modules.batchnorm import _NormBase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import nn


def layers_with_statistics(model: nn.Module) -> list[_NormBase]:
    """The layers of ``model`` that have running statistics and update them in training.

    A layer has frozen ones if all its parameters are frozen, or if it is in evaluation mode while the model is in
    training mode.
    """
    return [
        layer
        for layer in model.modules()
        if isinstance(layer, _NormBase)
        and layer.running_mean is not None
        and (layer.training or not model.training)
        and (not layer.affine or layer.weight.requires_grad or layer.bias.requires_grad)
    ]


def estimate_statistics(layers: Sequence[_NormBase], passes: Iterable[Callable[[], object]]) -> None:
    """Set the running statistics of ``layers`` to their mean over some batches, weighted by the samples in each.

    Only these layers are in training mode during the passes, so dropout is off. If a pass fails, or there is none, the
    statistics stay as they were, and so do those of a layer that no pass goes through. The number of batches that a
    layer has seen does not change.

    Args:
        layers: of a model in evaluation mode, with running statistics.
        passes: each passes one batch, of more than one sample, through the model.

    Raises:
        Exception: any exception of the model.
    """
    before = [statistics_of([layer]) for layer in layers]
    momenta = [layer.momentum for layer in layers]
    means = [_Mean() for _ in layers]
    hooks = [layer.register_forward_pre_hook(mean) for layer, mean in zip(layers, means, strict=True)]
    seen = 0
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.train()
        for each in passes if layers else ():
            each()
            seen += 1
    except BaseException:
        seen = 0
        raise
    finally:
        for layer, momentum, hook in zip(layers, momenta, hooks, strict=True):
            hook.remove()
            layer.momentum = momentum
            layer.eval()
        for mean, pairs in zip(means, before, strict=True):
            for buffer, old in pairs:
                if not seen or not mean.samples or not torch.is_floating_point(buffer):
                    buffer.copy_(old)


def statistics_of(layers: Sequence[_NormBase]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The buffers of ``layers``, each with a copy of its values."""
    return [(buffer, buffer.clone()) for layer in layers for buffer in layer.buffers(recurse=False)]


class _Mean:
    """A hook before each call of a layer: its statistics become the mean over the samples of all calls."""

    def __init__(self) -> None:
        self.samples = 0

    def __call__(self, layer: _NormBase, inputs: tuple[torch.Tensor, ...]) -> None:
        samples = len(inputs[0])
        self.samples += samples
        layer.momentum = samples / max(self.samples, 1)

"""Layers of a torch model whose weights are divided by their largest singular value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.spectral_norm import SpectralNorm as _SpectralNormHook

if TYPE_CHECKING:
    import torch
    from torch import nn


class NormalisedWeight(NamedTuple):
    """A weight under ``spectral_norm``: the parameter, the dimension of its rows, and its singular vectors."""

    weight: torch.Tensor
    axis: int
    left: torch.Tensor
    right: torch.Tensor


def normalised_weights(model: nn.Module) -> Iterator[NormalisedWeight]:
    """The weights of ``torch.nn.utils.parametrizations.spectral_norm`` and the older ``torch.nn.utils.spectral_norm``.

    If another parametrization precedes the spectral norm, the divided tensor is not a parameter, and is skipped.
    """
    for module in model.modules():
        if isinstance(module, ParametrizationList):
            first = module[0]
            if isinstance(first, _SpectralNorm) and hasattr(first, "_u"):
                yield NormalisedWeight(module.original, first.dim, first._u, first._v)  # noqa: SLF001
        for hook in module._forward_pre_hooks.values():  # noqa: SLF001  (where torch keeps the older form)
            if isinstance(hook, _SpectralNormHook):
                weight, left, right = (getattr(module, f"{hook.name}_{end}") for end in ("orig", "u", "v"))
                yield NormalisedWeight(weight, hook.dim, left, right)

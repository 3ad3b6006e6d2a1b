"""Loads a file of a run into a torch model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from swarm.pytorch.port import TorchPort
from swarm.storage.files import load_into

if TYPE_CHECKING:
    from torch import nn


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Set the tensors of ``model`` from a file of a model directory, such as ``swarm-final.safetensors``.

    Tensors that are not in the file, such as local ones, are not changed. Unlike ``load_state_dict`` it supports a
    wrapped model (``DistributedDataParallel``, ``torch.compile``) and complex tensors of 128 bits.

    Args:
        model: a ``nn.Module``, also a ``LightningModule``.
        path: the file.

    Raises:
        ModelError: the file cannot be read, or it is of another model; the message names the first difference.
    """
    load_into(TorchPort(model), Path(path))

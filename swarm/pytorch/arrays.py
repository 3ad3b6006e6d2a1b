"""Tensors and arrays over the same memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import torch

from swarm.pytorch.shards import is_sharded, shard_of

if TYPE_CHECKING:
    from swarm.tensors.state import Array


def memory(tensor: torch.Tensor) -> object:
    """A key that is equal for tensors with the same elements of the same memory, also if one is transposed."""
    if is_sharded(tensor):
        shard = shard_of(tensor)
        return ("shard", tuple(tensor.shape), memory(shard) if shard.numel() else id(tensor))
    if tensor.numel() == 0:
        return id(tensor)
    span = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    layout = () if span == tensor.numel() else (tuple(tensor.shape), tensor.stride())
    return (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.numel(), layout)


def array_of(tensor: torch.Tensor) -> Array:
    """An array over the memory of a contiguous CPU tensor."""
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    array: Array = tensor.numpy()
    return array


def shared_tensor(array: Array) -> torch.Tensor:
    """A CPU tensor over the memory of ``array``."""
    values = array if array.flags.writeable else array.copy()
    if values.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(values)

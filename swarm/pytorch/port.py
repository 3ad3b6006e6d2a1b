"""A torch model's tensors, copied out and in."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import ml_dtypes
import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parameter import is_lazy

from swarm.errors import ModelError
from swarm.model import ModelPort
from swarm.state import Schema, TensorKind, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swarm.state import Array, ModelState

_WEIGHT_DTYPES = {
    torch.float64: "float64",
    torch.float32: "float32",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
}
_INTEGER_DTYPES = {
    getattr(torch, name): name
    for name in ("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64")
}
_DTYPES = _WEIGHT_DTYPES | _INTEGER_DTYPES

_NORM_KINDS = {
    "running_mean": TensorKind.MEAN,
    "running_var": TensorKind.VARIANCE,
    "num_batches_tracked": TensorKind.COUNTER,
}


class _Entry(NamedTuple):
    spec: TensorSpec
    tensor: torch.Tensor


class TorchPort(ModelPort):
    """Parameters and persistent buffers of an ``nn.Module``, in the order of its ``state_dict``.

    Frozen parameters belong to it, buffers registered with ``persistent=False`` do not. Tensors that share their
    memory appear once, under the first name. The running statistics of BatchNorm layers are told by the type of
    the layer (``nn.modules.batchnorm`` and its subclasses, SyncBatchNorm and InstanceNorm among them), never by
    name. An integer buffer without dimensions counts; any other integer or boolean tensor is a constant.

    A wrapper (``torch.compile``, ``DistributedDataParallel``) changes neither order nor names. A model on a GPU is
    copied through the CPU.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def schema(self) -> Schema:
        """The model's tensors as they are now.

        Raises:
            ModelError: a tensor cannot be merged (complex, quantized, sparse, sharded), or has no values yet.
        """
        schema = Schema(tuple(entry.spec for entry in _entries(self._model)))
        if not schema.tensors:
            raise ModelError(f"the model {type(self._model).__name__} has no parameters: there is nothing to merge")
        return schema

    def read(self, into: ModelState) -> None:
        """Copy every tensor's values into ``into``, bit for bit."""
        for tensor, array in self._pairs(into):
            _shared_tensor(array).copy_(tensor)

    def write(self, state: ModelState) -> None:
        """Set every tensor from ``state``, in place.

        The parameter objects, their gradients and the optimizer's view of them stay. Autograd does not see the
        write, as it does not see an optimizer's.
        """
        for tensor, array in self._pairs(state):
            tensor.copy_(_shared_tensor(array))

    def _pairs(self, state: ModelState) -> Iterator[tuple[torch.Tensor, Array]]:
        entries = list(_entries(self._model))
        difference = Schema(tuple(entry.spec for entry in entries)).difference(state.schema)
        if difference is not None:
            raise ModelError(f"the model changed since training began: {difference} (here: now, there: at the start)")
        for entry, (_, array) in zip(entries, state.arrays(), strict=True):
            yield entry.tensor, array


def unwrap(model: nn.Module) -> nn.Module:
    """The module inside ``torch.compile`` and ``DistributedDataParallel``."""
    while True:
        inner = model.module if isinstance(model, DistributedDataParallel) else getattr(model, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def _entries(model: nn.Module) -> Iterator[_Entry]:
    """Spec and values of each tensor, once, as a tensor that autograd does not follow."""
    seen: set[object] = set()
    for path, module in model.named_modules():
        _refuse_sharded(path, module)
        prefix = _clean(path)
        persistent = (
            (name, buffer)
            for name, buffer in module._buffers.items()  # noqa: SLF001  (no public way to tell persistent buffers)
            if name not in module._non_persistent_buffers_set  # noqa: SLF001
        )
        for is_buffer, tensors in ((False, module._parameters.items()), (True, persistent)):  # noqa: SLF001
            for leaf, tensor in tensors:
                if tensor is None:
                    continue
                name = f"{prefix}.{leaf}" if prefix else leaf
                _refuse(name, tensor)
                key = _memory(tensor)
                if key in seen:
                    continue
                seen.add(key)
                kind = _kind(module, leaf, tensor, is_buffer=is_buffer)
                spec = TensorSpec(name, tuple(tensor.shape), _DTYPES[tensor.dtype], kind)
                # .data, not .detach(): the latter shares the version counter, so that a write would break the
                # backward pass of a graph that somebody still holds.
                yield _Entry(spec, tensor.data)


def _kind(module: nn.Module, leaf: str, tensor: torch.Tensor, *, is_buffer: bool) -> TensorKind:
    if is_buffer and isinstance(module, _NormBase) and leaf in _NORM_KINDS:
        return _NORM_KINDS[leaf]
    if tensor.dtype in _WEIGHT_DTYPES:
        return TensorKind.BUFFER if is_buffer else TensorKind.WEIGHT
    counts = is_buffer and tensor.ndim == 0 and tensor.dtype is not torch.bool
    return TensorKind.COUNTER if counts else TensorKind.CONSTANT


def _memory(tensor: torch.Tensor) -> object:
    """What is equal for tensors that hold the same elements of the same memory, transposed or not."""
    if tensor.numel() == 0:
        return id(tensor)
    span = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    layout = () if span == tensor.numel() else (tuple(tensor.shape), tensor.stride())
    return (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.numel(), layout)


def _clean(path: str) -> str:
    parts = [part for part in path.split(".") if part != "_orig_mod"]
    return ".".join(parts[1:] if parts[:1] == ["module"] else parts)


def _refuse_sharded(path: str, module: nn.Module) -> None:
    if any(base.__module__.startswith("torch.distributed.fsdp") for base in type(module).__mro__):
        raise ModelError(
            f"{path or 'the model'} is sharded by FSDP, so that this process holds only a part of it: "
            "sharded models cannot be merged, train it on one device or under DDP"
        )


def _refuse(name: str, tensor: torch.Tensor) -> None:
    """Raise ModelError when ``tensor`` cannot take part in a merge."""
    if is_lazy(tensor):
        raise ModelError(f"{name!r} has no shape yet: pass one batch through the model before training begins")
    if any(base.__module__.startswith("torch.distributed") for base in type(tensor).__mro__):
        raise ModelError(f"{name!r} is a {type(tensor).__name__}, of which this process holds only a shard")
    if tensor.is_meta:
        raise ModelError(
            f"{name!r} is on the meta device and has no values: move the model with to_empty() and load it"
        )
    if tensor.layout is not torch.strided or tensor.is_nested:
        raise ModelError(f"{name!r} has the layout {tensor.layout}: only dense tensors can be merged, use to_dense()")
    if tensor.is_complex():
        raise ModelError(f"{name!r} is {tensor.dtype}: keep it as a real tensor, with torch.view_as_real")
    if tensor.is_quantized or tensor.dtype not in _DTYPES:
        raise ModelError(
            f"{name!r} is {tensor.dtype}, which cannot be averaged: "
            f"train in one of {', '.join(_WEIGHT_DTYPES.values())} and quantize after training"
        )
    if any(size > 1 and stride == 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True)):
        raise ModelError(f"{name!r} is an expanded view whose elements share memory: store a .clone() of it")


def _shared_tensor(array: Array) -> torch.Tensor:
    """A CPU tensor over the memory of ``array``."""
    values = array if array.flags.writeable else array.copy()
    if values.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(values)

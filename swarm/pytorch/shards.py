"""Tensors of which each process of a site has a shard (DTensor), as FSDP2 and tensor parallelism make them.

They are recognised by name: the modules of torch for them take long to import, and are imported where there are some.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from swarm.errors import ModelError
from swarm.pytorch.flattened import is_flat

if TYPE_CHECKING:
    from torch import nn


def is_sharded(tensor: torch.Tensor) -> bool:
    """Whether this process may have only a shard of a tensor."""
    return any(base.__name__ == "DTensor" and _of_torch(base) for base in type(tensor).__mro__)


def shard_of(tensor: Any) -> torch.Tensor:
    """This process's shard, in its own memory."""
    with torch.no_grad():
        shard: torch.Tensor = tensor.to_local()
    return shard


def whole(tensor: Any) -> torch.Tensor:
    """All values of a tensor. All processes call this for the same tensors in the same order."""
    with torch.no_grad():
        values: torch.Tensor = tensor.full_tensor()
    return values


def whole_state(model: nn.Module) -> dict[str, Any] | None:
    """The ``state_dict`` of a model that FSDP2 or tensor parallelism has sharded, as whole tensors in ordinary memory.

    All processes call this. Rank 0 gets the tensors, one of which each process has as a whole at a time. None, without
    asking another process, where each has the whole model.

    Raises:
        ModelError: the model is under FSDP1, in all processes. That can crash torch where it is on the CPU.
    """
    if any(map(is_flat, model.modules())):
        raise ModelError("it is under FullyShardedDataParallel: use torch.distributed.fsdp.fully_shard (FSDP2) instead")
    if not any(map(is_sharded, model.parameters())):
        return None
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))


def own_part(tensor: Any, values: torch.Tensor) -> torch.Tensor:
    """Of the values of a whole tensor, those in the shard of this process; no other process is asked."""
    from torch.distributed.tensor import distribute_tensor

    part: torch.Tensor = distribute_tensor(values, tensor.device_mesh, tensor.placements, src_data_rank=None).to_local()
    return part


def sharding(tensor: Any) -> list[Any] | None:
    """How a tensor is sharded, in JSON types: its shape, its strides, and by which dimension over each of its mesh.

    None for the latter where all processes have the same values. None instead of all where some have sums to be added.
    """
    dimensions = []
    for placement in tensor.placements:
        if not (placement.is_shard() or placement.is_replicate()):
            return None
        dimensions.append(placement.dim if placement.is_shard() else None)
    return [list(tensor.shape), list(tensor.stride()), dimensions]


def placed(shard: torch.Tensor, where: list[Any], like: Any) -> torch.Tensor:
    """The tensor of which this process has ``shard``, as ``sharding`` has told, over the mesh of ``like``.

    Raises:
        ValueError, TypeError, RuntimeError: it is none.
    """
    from torch.distributed.tensor import DTensor, Replicate, Shard

    shape, strides, dimensions = where
    placements = [Replicate() if dimension is None else Shard(dimension) for dimension in dimensions]
    tensor: torch.Tensor = DTensor.from_local(
        shard.to(like.device),
        like.device_mesh,
        placements,
        run_check=False,
        shape=torch.Size(shape),
        stride=tuple(strides),
    )
    return tensor


def keep_shards_only(model: nn.Module) -> None:
    """Free the whole parameters that FSDP2 has kept after a forward pass: the model then has its shards."""
    for module in model.modules():
        if any(base.__name__ == "FSDPModule" and _of_torch(base) for base in type(module).__mro__):
            module.reshard()  # type: ignore[operator]


def _of_torch(cls: type) -> bool:
    return cls.__module__.startswith("torch.distributed")

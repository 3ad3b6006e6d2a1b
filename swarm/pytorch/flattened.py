"""Weights of which each process of a site has a flat part: under FSDP1, and in the optimizers of DeepSpeed (ZeRO).

Models are recognised by name: the modules for them take long to import, and are imported where there are some.
"""

from __future__ import annotations

import warnings
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

from swarm.pytorch.names import IN_FSDP1

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

HALF = (torch.float16, torch.bfloat16)


def is_flat(module: nn.Module) -> bool:
    """Whether a module is the wrapper of FSDP1, ``FullyShardedDataParallel``."""
    return any(
        base.__name__ == "FullyShardedDataParallel" and base.__module__.startswith("torch.")
        for base in type(module).__mro__
    )


def is_partitioned(parameter: torch.Tensor) -> bool:
    """Whether an optimizer of DeepSpeed (ZeRO-1 or 2) has the values of a parameter once more, a part in each process.

    It trains them in float32, and replaces the parameter by them after each step.
    """
    return hasattr(parameter, "_hp_mapping")


def acts_together(model: nn.Module) -> bool:
    """Whether all processes of a site take part where this model is read or set."""
    return any(map(is_flat, model.modules())) or any(map(is_partitioned, model.parameters()))


@contextmanager
def whole_parameters(model: nn.Module, *, changed: bool = False, everywhere: bool = False) -> Iterator[None]:
    """In the block the parameters of a model under FSDP1 are whole; all processes enter it at the same place.

    They are whole in rank 0 alone, unless they are ``changed``, by the same values in all processes, or needed
    ``everywhere``. Those of GPUs are in ordinary memory meanwhile, because a GPU may have no room for a whole model.
    Nothing happens to another model.
    """
    with ExitStack() as stack:
        wrappers: list[Any] = [module for module in model.modules() if is_flat(module)]
        if wrappers:
            from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy

            copied = all(each.sharding_strategy is not ShardingStrategy.NO_SHARD for each in wrappers) and any(
                each.compute_device.type != "cpu" for each in wrappers
            )
            with warnings.catch_warnings():  # that processes of one machine have as many copies
                warnings.simplefilter("ignore")
                stack.enter_context(
                    FullyShardedDataParallel.summon_full_params(
                        model, writeback=changed, rank0_only=not (changed or everywhere), offload_to_cpu=copied
                    )
                )
        yield


def partitioned_values(parameter: Any) -> torch.Tensor:
    """All values of a parameter that is partitioned, in float32; each process asks for them where it is not."""
    if parameter.dtype is torch.float32:
        values: torch.Tensor = parameter.data  # the optimizer has the same
        return values
    from deepspeed.utils import safe_get_full_fp32_param

    return safe_get_full_fp32_param(parameter)  # type: ignore[no-any-return]


def set_partitioned(parameter: Any, values: torch.Tensor) -> None:
    """Set a parameter that is partitioned, and this process's part of what the optimizer has; no other is asked."""
    from deepspeed.utils import safe_set_full_fp32_param

    parameter.data.copy_(values)
    safe_set_full_fp32_param(parameter, values)


def unsupported(module: nn.Module, path: str) -> str | None:
    """Why a model with this module cannot be merged, as the end of a sentence; None if it can.

    ``path`` is that of the module in the model, with wrappers.
    """
    if IN_FSDP1 not in path.split(".") and _is_flattened(module):
        return "is inside a FullyShardedDataParallel that was not given: give the model with that wrapper"
    if any(base.__name__ == "DeepSpeedEngine" and _of_deepspeed(base) for base in type(module).__mro__):
        return _unsupported_engine(module)
    return None


def unsupported_parameter(parameter: Any) -> str | None:
    """Why a parameter of DeepSpeed cannot be merged, as the end of a sentence; None if it can."""
    if hasattr(parameter, "ds_id"):
        return (
            "is partitioned by ZeRO-3 of DeepSpeed: use stage 1 or 2, or torch.distributed.fsdp.fully_shard (FSDP2), "
            "which shards parameters as well"
        )
    if is_partitioned(parameter) and distributed.get_world_size(parameter._dp_group) < distributed.get_world_size():  # noqa: SLF001
        return (
            "is not in all processes of this site (pipeline, tensor or expert parallelism of DeepSpeed): use data "
            "parallelism alone, or tensor parallelism of torch.distributed.tensor"
        )
    return None


def _unsupported_engine(engine: Any) -> str | None:
    if engine.mp_world_size > 1 or engine.has_moe_layers or type(engine).__name__ != "DeepSpeedEngine":
        return (
            f"is a {type(engine).__name__} with pipeline, tensor or expert parallelism: use data parallelism alone, or "
            "tensor parallelism of torch.distributed.tensor"
        )
    if _of_deepspeed(type(engine.optimizer)) and any(
        each.requires_grad and each.dtype in HALF and not (is_partitioned(each) or hasattr(each, "ds_id"))
        for each in engine.parameters()
    ):
        return (
            "is a DeepSpeedEngine that trains in half precision without ZeRO, and whose optimizer would replace merged "
            'weights by its float32 copy: set "zero_optimization": {"stage": 1} or 2'
        )
    return None


def _is_flattened(module: nn.Module) -> bool:
    """Whether a wrapper of FSDP1 around a module has its parameters."""
    flattened = (getattr(each, "_fsdp_flattened", False) for each in module._parameters.values())  # noqa: SLF001
    return not is_flat(module) and (getattr(module, "_fsdp_use_orig_params", True) is False or any(flattened))


def _of_deepspeed(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "deepspeed"

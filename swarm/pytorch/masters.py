"""Master weights: what an optimizer trains in float32 and rounds into a model in half precision."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from swarm.errors import ModelError
from swarm.pytorch.arrays import memory
from swarm.pytorch.shards import is_sharded

DTYPES = (torch.float32, torch.float64)


def check_masters(masters: Mapping[str, object], parameters: Mapping[str, torch.Tensor]) -> None:
    """Whether each master weight fits the parameter of its name.

    Raises:
        ModelError: one does not.
    """
    for name, master in masters.items():
        if name not in parameters:
            raise ModelError(f"master_weights has {name!r}, and the model has no such parameter")
        reason = _reason(master, parameters[name])
        if reason:
            raise ModelError(f"the master weight of {name!r} {reason}")


def _reason(master: object, parameter: torch.Tensor) -> str:
    """Why it is no master weight of a parameter, as the end of a sentence; empty if it is one."""
    if is_sharded(parameter) or parameter.dtype not in (torch.float16, torch.bfloat16):
        return "is one of a tensor that is sharded, or not in half precision: leave it out"
    if not isinstance(master, torch.Tensor) or is_sharded(master):
        return f"is a {type(master).__name__}, and not a tensor of this process"
    if master.shape != parameter.shape:
        return f"has the shape {tuple(master.shape)}, and the parameter {tuple(parameter.shape)}"
    if master.dtype not in DTYPES or master.layout is not torch.strided or master.is_meta:
        return (
            f"is {master.dtype} ({master.layout}, {master.device}): it has to be a dense tensor of float32 or float64"
        )
    return "shares memory with the parameter" if memory(master) == memory(parameter) else ""

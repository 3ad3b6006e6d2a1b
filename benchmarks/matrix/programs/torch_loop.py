"""A training loop of the user's own with PyTorch: alone, or under DDP, FSDP, tensor parallelism, ZeRO or Accelerate."""

from __future__ import annotations

import argparse
import os
import time
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import distributed, nn

from benchmarks.matrix.programs.told import end, tell, tell_model
from swarm import SwarmCallback

SAMPLES, BATCH = 256, 16
GROUPED = ("ddp", "fsdp1", "fsdp2", "tp", "zero1", "zero2")
"""Ways to train in a process group that the script makes. ZeRO is that of DeepSpeed."""


class Prepared(NamedTuple):
    """What a loop calls."""

    model: Any
    optimizer: Any
    backward: Any
    step: Any
    rank: int
    size: int
    """Number of processes."""


def main() -> None:
    """Train, and tell the model that this process ends with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wrap", choices=["none", *GROUPED, "accelerate"], default="none")
    parser.add_argument("--half", action="store_true", help="train in bfloat16, with ZeRO")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds before each batch")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds before the second epoch")
    parser.add_argument("--time-out", type=float, default=1800.0, help="seconds, of the process group")
    parser.add_argument("--momentum", type=float, default=0.0, help="of the optimizer, unless Accelerate prepares it")
    parser.add_argument("--width", type=int, default=16, help="of the hidden layer")
    options = parser.parse_args()

    torch.manual_seed(sum(os.environ["SWARM_NAME"].encode()))  # equal in the processes of a site
    net = nn.Sequential(
        nn.Linear(8, options.width), nn.LayerNorm(options.width), nn.ReLU(), nn.Linear(options.width, 3)
    )
    x, y = torch.randn(SAMPLES, 8), torch.randint(0, 3, (SAMPLES,))
    if options.wrap in GROUPED:
        distributed.init_process_group("gloo", timeout=timedelta(seconds=options.time_out))
    prepared = _prepared(options.wrap, net, options.momentum, half=options.half)
    model, optimizer, backward, step, rank, size = prepared
    dtype = torch.bfloat16 if options.half else torch.float32
    tell(f"RANK {rank} {os.getpid()}")
    swarm = SwarmCallback(model=model, optimizer=optimizer, val_data=(x, y), loss_function=nn.CrossEntropyLoss())
    with swarm:
        swarm.on_train_begin()
        for epoch in swarm.epochs(options.epochs):
            time.sleep(options.wait if epoch == 1 else 0)
            for batch in torch.arange(SAMPLES).split(BATCH * size):
                time.sleep(options.pause)
                own = batch if options.wrap == "tp" else batch[rank::size]  # one batch for all processes
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x[own].to(dtype)).float(), y[own])
                backward(loss)
                step()
                swarm.on_batch_end(loss=loss)
                tell(f"BATCH {int(swarm.metrics['swarm_rounds'])}")
        swarm.on_train_end()
    if rank == 0:
        tell(f"SENT {swarm.metrics['swarm_bytes_sent'] / 1e6:.1f} MB")
    tell_model((each.detach().numpy() for each in _weights(options.wrap, model, net)), swarm.metrics)
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _prepared(wrap: str, net: nn.Module, momentum: float, *, half: bool) -> Prepared:
    if wrap == "accelerate":
        from accelerate import Accelerator

        accelerator = Accelerator(cpu=True)
        model, optimizer = accelerator.prepare(net, torch.optim.SGD(net.parameters(), lr=0.05))
        processes = accelerator.process_index, accelerator.num_processes
        return Prepared(model, optimizer, accelerator.backward, optimizer.step, *processes)
    model = net
    sgd = partial(torch.optim.SGD, lr=0.05, momentum=momentum)
    if wrap == "ddp":
        model = nn.parallel.DistributedDataParallel(net)
    elif wrap == "fsdp1":
        from torch.distributed.fsdp import FullyShardedDataParallel
        from torch.distributed.fsdp.wrap import ModuleWrapPolicy

        each = ModuleWrapPolicy({nn.Linear})
        model = FullyShardedDataParallel(net, auto_wrap_policy=each, device_id=torch.device("cpu"))
    elif wrap == "fsdp2":
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh("cpu", (distributed.get_world_size(),))
        fully_shard(net[0], mesh=mesh)
        fully_shard(net, mesh=mesh)
    elif wrap == "tp":
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.tensor import Replicate
        from torch.distributed.tensor.parallel import RowwiseParallel, parallelize_module

        last = RowwiseParallel(input_layouts=Replicate())
        parallelize_module(net, init_device_mesh("cpu", (distributed.get_world_size(),)), {"3": last})
    rank, size = (distributed.get_rank(), distributed.get_world_size()) if wrap != "none" else (0, 1)
    if wrap in ("zero1", "zero2"):
        import deepspeed

        config = {
            "train_micro_batch_size_per_gpu": BATCH,
            "zero_optimization": {"stage": int(wrap[-1])},
            "zero_allow_untested_optimizer": True,
            "bf16": {"enabled": half},
        }
        engine, optimizer, _, _ = deepspeed.initialize(model=net, optimizer=sgd(net.parameters()), config=config)
        return Prepared(engine, optimizer, engine.backward, engine.step, rank, size)
    optimizer = sgd(model.parameters())
    return Prepared(model, optimizer, torch.Tensor.backward, optimizer.step, rank, size)


@torch.no_grad()
def _weights(wrap: str, model: Any, net: nn.Module) -> list[torch.Tensor]:
    """Those that are trained, whole; all processes call this."""
    if wrap == "fsdp1":
        with model.summon_full_params(model, writeback=False):
            return [each.clone() for each in net.parameters()]
    if wrap in ("zero1", "zero2"):
        from deepspeed.utils import safe_get_full_fp32_param

        return [safe_get_full_fp32_param(each) for each in net.parameters()]
    return [each.full_tensor() if hasattr(each, "full_tensor") else each for each in net.parameters()]


if __name__ == "__main__":
    main()
    end()

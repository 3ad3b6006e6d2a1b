"""A training loop of the user's own with PyTorch: in one process, under DDP or FSDP2, or with Accelerate."""

from __future__ import annotations

import argparse
import os
import time
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, nn

from benchmarks.matrix.programs.told import tell, tell_model
from swarm import SwarmCallback

SAMPLES, BATCH = 256, 16


def main() -> None:
    """Train, and tell the model that this process ends with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wrap", choices=["none", "ddp", "fsdp2", "accelerate"], default="none")
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
    if options.wrap in ("ddp", "fsdp2"):
        distributed.init_process_group("gloo", timeout=timedelta(seconds=options.time_out))
    model, optimizer, backward, rank, size = _prepared(options.wrap, net, options.momentum)
    tell(f"RANK {rank} {os.getpid()}")
    swarm = SwarmCallback(model=model, optimizer=optimizer, val_data=(x, y), loss_function=nn.CrossEntropyLoss())
    with swarm:
        swarm.on_train_begin()
        for epoch in swarm.epochs(options.epochs):
            time.sleep(options.wait if epoch == 1 else 0)
            for batch in torch.arange(SAMPLES).split(BATCH * size):
                time.sleep(options.pause)
                own = batch[rank::size]
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x[own]), y[own])
                backward(loss)
                optimizer.step()
                swarm.on_batch_end(loss=loss)
                tell(f"BATCH {int(swarm.metrics['swarm_rounds'])}")
        swarm.on_train_end()
    if rank == 0:
        tell(f"SENT {swarm.metrics['swarm_bytes_sent'] / 1e6:.1f} MB")
    tell_model(map(_whole, net.state_dict().values()), swarm.metrics)
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _prepared(wrap: str, net: nn.Module, momentum: float) -> tuple[nn.Module, Any, Any, int, int]:
    """The model, its optimizer, what computes the gradients, and the rank and number of the processes."""
    if wrap == "accelerate":
        from accelerate import Accelerator

        accelerator = Accelerator(cpu=True)
        model, optimizer = accelerator.prepare(net, torch.optim.SGD(net.parameters(), lr=0.05))
        return model, optimizer, accelerator.backward, accelerator.process_index, accelerator.num_processes
    model = net
    if wrap == "ddp":
        model = nn.parallel.DistributedDataParallel(net)
    elif wrap == "fsdp2":
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh("cpu", (distributed.get_world_size(),))
        fully_shard(net[0], mesh=mesh)
        fully_shard(net, mesh=mesh)
    rank, size = (distributed.get_rank(), distributed.get_world_size()) if wrap != "none" else (0, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=momentum)
    return model, optimizer, torch.Tensor.backward, rank, size


def _whole(tensor: Any) -> Any:
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).numpy()


if __name__ == "__main__":
    main()

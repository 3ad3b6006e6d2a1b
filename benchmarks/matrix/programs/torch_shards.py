"""Trains a sharded model, or a whole one, and tells how much more memory a swarm needs than the training alone."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from benchmarks.matrix.programs.told import end, tell_model
from swarm import SwarmCallback

LAYERS = 8


def main() -> None:
    """Train a while alone, then in a swarm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=200, help="MiB of the model")
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--whole", action="store_true", help="in one process, which has the whole model")
    options = parser.parse_args()

    torch.manual_seed(0)
    width = int((options.mib * 2**20 / 4 / LAYERS) ** 0.5)
    model = _whole(width) if options.whole else _sharded(width)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def batch() -> None:
        optimizer.zero_grad()
        model(torch.randn(4, width)).square().mean().backward()
        optimizer.step()

    for _ in range(4):
        batch()
    before, most = _memory("VmRSS"), 0
    swarm = SwarmCallback(model=model, optimizer=optimizer)

    def measured(hook: Callable[[], None]) -> None:
        nonlocal most
        _reset()
        hook()
        most = max(most, _memory("VmHWM"))

    with swarm:
        measured(swarm.on_train_begin)
        for _ in range(options.batches):
            batch()
            measured(swarm.on_batch_end)
        measured(swarm.on_train_end)
    found = {
        "rank": 0 if options.whole else distributed.get_rank(),
        "mib": round((most - before) / 2**20, 1),
        "sent": swarm.metrics["swarm_bytes_sent"],
        "rounds": swarm.metrics["swarm_rounds"],
    }
    print("FOUND " + json.dumps(found), flush=True)
    values = model.state_dict().values()
    tell_model(((tensor if options.whole else tensor.full_tensor()).numpy() for tensor in values), swarm.metrics)
    if not options.whole:
        distributed.destroy_process_group()


def _whole(width: int) -> nn.Module:
    return nn.Sequential(*(nn.Linear(width, width, bias=False) for _ in range(LAYERS)))


def _sharded(width: int) -> nn.Module:
    distributed.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (distributed.get_world_size(),))
    # each is sharded as it is made, so that no process has the whole model
    layers = [fully_shard(nn.Linear(width, width, bias=False), mesh=mesh) for _ in range(LAYERS)]
    return fully_shard(nn.Sequential(*layers), mesh=mesh)


def _memory(what: str) -> int:
    """The memory of this process now (VmRSS), or the most since the last reset (VmHWM), in bytes."""
    found = re.search(rf"^{what}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise OSError("this system does not tell the memory of a process")
    return int(found[1]) * 1024


def _reset() -> None:
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    main()
    end()

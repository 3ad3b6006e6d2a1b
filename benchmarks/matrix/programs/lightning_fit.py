"""A ``LightningModule`` and a ``Trainer``."""

from __future__ import annotations

import argparse
import importlib
import os
import time
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.matrix.programs.told import end, tell_model
from swarm_lightning import SwarmLightningCallback

SAMPLES, BATCH = 256, 16


def main() -> None:
    """Train, and tell the model that this process ends with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flavour", choices=["lightning.pytorch", "pytorch_lightning"], default="lightning.pytorch")
    parser.add_argument("--strategy", choices=["auto", "ddp", "fsdp2", "tp"], default="auto")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--wait", type=float, default=0.0, help="seconds before the second epoch")
    options = parser.parse_args()
    flavour = importlib.import_module(options.flavour)

    class Module(flavour.LightningModule):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 3))

        def configure_model(self) -> None:
            if options.strategy == "fsdp2":
                from torch.distributed.fsdp import fully_shard

                fully_shard(self.net, mesh=self.device_mesh["data_parallel"])
            elif options.strategy == "tp":
                plan = {
                    "0": ColwiseParallel(output_layouts=Replicate()),
                    "3": RowwiseParallel(input_layouts=Replicate()),
                }
                parallelize_module(self.net, self.device_mesh["tensor_parallel"], plan)

        def on_train_epoch_start(self) -> None:
            time.sleep(options.wait if self.current_epoch == 1 else 0)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            x, y = batch
            return nn.functional.cross_entropy(self.net(x), y)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.05)

    strategy: Any = options.strategy
    if strategy in ("fsdp2", "tp"):
        strategies = importlib.import_module(f"{options.flavour}.strategies")
        sizes = (options.processes, 1) if strategy == "fsdp2" else (1, options.processes)
        strategy = strategies.ModelParallelStrategy(*sizes, save_distributed_checkpoint=False)
    torch.manual_seed(sum(os.environ["SWARM_NAME"].encode()))
    data = TensorDataset(torch.randn(SAMPLES, 8), torch.randint(0, 3, (SAMPLES,)))
    trainer = flavour.Trainer(
        strategy=strategy,
        devices=options.processes,
        accelerator="cpu",
        max_epochs=options.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[swarm := SwarmLightningCallback()],
    )
    module = Module()
    trainer.fit(module, DataLoader(data, batch_size=BATCH // options.processes))
    state = (each.full_tensor() if hasattr(each, "full_tensor") else each for each in module.state_dict().values())
    tell_model((each.numpy() for each in state), swarm.metrics)


if __name__ == "__main__":
    main()
    end()

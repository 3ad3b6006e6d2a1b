"""Lightning: ``Trainer.fit`` of a linear model."""

from __future__ import annotations

import logging
import tempfile
import warnings
from typing import Any

import lightning.pytorch as lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.hotpath.clocks import between_clocks
from benchmarks.hotpath.companion import Companion, require_company
from benchmarks.hotpath.turns import Plan, Samples, Turns
from swarm.pytorch import TorchPort
from swarm_lightning import SwarmLightningCallback

HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)
"""All hooks that Lightning calls per batch."""
SAMPLES = 4
"""Per batch."""


class EmptyCallback(lightning.Callback):
    """Overrides the same hook as Swarm's callback, and does nothing."""

    def on_train_batch_end(self, *arguments: object) -> None:
        """Do nothing."""


class Linear(lightning.LightningModule):
    """A linear regression."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """Mean squared error of a batch."""
        x, y = batch
        return torch.nn.functional.mse_loss(self.layer(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain gradient descent."""
        return torch.optim.SGD(self.parameters(), lr=0.01)


def measure(plan: Plan) -> Samples:
    """Train by ``plan``, with one call of ``fit`` for all arms."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    torch.manual_seed(0)
    module = Linear()
    samples = SAMPLES * plan.batches
    loader = DataLoader(TensorDataset(torch.randn(samples, 4), torch.randn(samples, 1)), batch_size=SAMPLES)
    turns = Turns(plan)
    with Companion(TorchPort(module).schema()) as companion, tempfile.TemporaryDirectory() as directory:
        callback = SwarmLightningCallback(**companion.arguments())
        callbacks = between_clocks(
            turns,
            lightning.Callback,
            HOOKS,
            ("on_train_epoch_start", "on_train_epoch_end"),
            (EmptyCallback(), callback),
            companion,
            lambda: trainer.callbacks,  # type: ignore[attr-defined]
        )
        trainer = lightning.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=plan.epochs,
            callbacks=callbacks,
            default_root_dir=directory,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, loader)
        require_company(callback.metrics)
    return turns.samples()

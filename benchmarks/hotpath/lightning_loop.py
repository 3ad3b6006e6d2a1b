"""Lightning: ``Trainer.fit`` of a linear model."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import lightning.pytorch as lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.hotpath.companion import Companion, require_company, require_untouched
from benchmarks.hotpath.turns import EMPTY, NONE, SWARM, Plan, Samples, Turns, put_between
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
"""Every hook that Lightning calls per batch, of every callback whether it overrides it or not."""
SAMPLES = 4
"""Per batch."""


class EmptyCallback(lightning.Callback):
    """Overrides the hook that ours overrides, and does nothing there."""

    def on_train_batch_end(self, *arguments: object) -> None:
        """Nothing."""


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
    """Train by ``plan``, one call of ``fit`` for all arms."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    torch.manual_seed(0)
    module = Linear()
    samples = SAMPLES * plan.batches
    loader = DataLoader(TensorDataset(torch.randn(samples, 4), torch.randn(samples, 1)), batch_size=SAMPLES)
    turns = Turns(plan)
    with Companion(TorchPort(module).schema()) as companion, tempfile.TemporaryDirectory() as directory:
        callback = SwarmLightningCallback(**companion.arguments())
        trainer = lightning.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=plan.epochs,
            callbacks=_callbacks(turns, callback, companion),
            default_root_dir=directory,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, loader)
        require_company(callback.metrics)
    return turns.samples()


def _callbacks(turns: Turns, callback: Any, companion: Companion) -> list[Any]:
    """A clock, the callbacks of all arms, and another clock."""
    empty = EmptyCallback()
    arms: dict[str, list[Any]] = {NONE: [], EMPTY: [empty], SWARM: [callback]}
    after = _clock(turns.stop)()

    class Before(_clock(turns.start)):  # type: ignore[misc]  # a class made at run time
        """The first clock, which also puts the arms in place."""

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            put_between(trainer.callbacks, self, after, arms[turns.begin()])

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            turns.end()
            if turns.complete:
                put_between(trainer.callbacks, self, after, [empty, callback])

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            require_untouched(callback.metrics, over=callback.swarm_over)
            companion.finish()

    return [Before(), empty, callback, after]


def _clock(stamp: Callable[[], None]) -> Any:
    """A class of callbacks that call ``stamp`` at every hook of a batch."""

    def hook(*_arguments: object, **_keywords: object) -> None:
        stamp()

    return type("Clock", (lightning.Callback,), dict.fromkeys(HOOKS, hook))

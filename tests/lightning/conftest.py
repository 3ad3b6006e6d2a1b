from __future__ import annotations

import importlib

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from swarm_lightning import SwarmLightningCallback

BATCHES = 8


@pytest.fixture(autouse=True)
def _separate_addresses(separate_addresses: None) -> None:
    """Several peers of a test are in one process."""


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def flavour(request):
    return importlib.import_module(request.param)


@pytest.fixture
def make_callback(recording_session, monkeypatch):
    monkeypatch.setattr(SwarmLightningCallback, "session_factory", recording_session)

    def make(**arguments):
        return SwarmLightningCallback(**({"loopback": True} | arguments))

    return make


@pytest.fixture
def make_trainer(flavour, tmp_path):
    def make(callbacks, **options):
        options = {"max_epochs": 1, "logger": False, "enable_checkpointing": False} | options
        return flavour.Trainer(
            callbacks=callbacks,
            accelerator="cpu",
            default_root_dir=tmp_path,
            enable_progress_bar=options.pop("enable_progress_bar", False),
            enable_model_summary=False,
            **options,
        )

    return make


@pytest.fixture
def module(flavour):
    """A linear regression on random data, eight batches an epoch."""

    class Module(flavour.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)
            self.data = TensorDataset(torch.randn(4 * BATCHES, 3), torch.randn(4 * BATCHES, 1))

        def forward(self, x):
            return self.layer(x)

        def training_step(self, batch, batch_idx):
            x, y = batch
            return torch.nn.functional.mse_loss(self(x), y)

        def validation_step(self, batch, batch_idx):
            x, y = batch
            self.log("val_loss", torch.nn.functional.mse_loss(self(x), y))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

        def train_dataloader(self):
            return DataLoader(self.data, batch_size=4)

        def val_dataloader(self):
            return DataLoader(self.data, batch_size=16)

    torch.manual_seed(0)
    return Module()

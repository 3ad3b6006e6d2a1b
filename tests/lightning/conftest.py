from __future__ import annotations

import importlib
from typing import ClassVar

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from swarm_lightning import SwarmLightningCallback

BATCHES = 8


class RecordingSession:
    """Stands for a session: merges every ``interval`` batches, and keeps what it was told."""

    interval = 3

    def __init__(self, settings, port, *, evaluate, logger):
        self.settings, self.port, self.evaluate, self.logger = settings, port, evaluate, logger
        self.calls: list[tuple] = []
        self.counted = self.rounds = 0
        self.over = False
        self.opened.append(self)

    opened: ClassVar[list[RecordingSession]] = []

    @property
    def batches_left(self) -> int:
        return max(self.interval - self.counted, 0)

    def begin(self):
        self.calls.append(("begin",))

    def advance(self, batches=1, *, at_boundary=True, loss=None):
        self.counted += batches
        if at_boundary and self.counted >= self.interval:
            self.calls.append(("merge", self.counted, loss))
            self.counted = 0
            self.rounds += 1

    def epoch_end(self, epoch):
        self.calls.append(("epoch", epoch, self.counted))

    def end(self):
        self.calls.append(("end", self.counted))
        self.over = True

    def abort(self, reason):
        self.calls.append(("abort", reason))

    def metrics(self):
        return {"swarm_rounds": float(self.rounds)}


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def flavour(request):
    return importlib.import_module(request.param)


@pytest.fixture
def recording_session(monkeypatch) -> type[RecordingSession]:
    monkeypatch.setattr(RecordingSession, "opened", [])
    monkeypatch.setattr(RecordingSession, "interval", 3)
    return RecordingSession


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

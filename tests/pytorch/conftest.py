from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import nn


class EveryKind(nn.Module):
    """Every dtype, kind and memory layout that must survive."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.conv = nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last)
        self.norm = nn.BatchNorm2d(4)
        self.half = nn.Linear(4, 4).half()
        self.brain = nn.Linear(4, 3).bfloat16()
        self.double = nn.Linear(3, 2).double()
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight
        self.frozen = nn.Parameter(torch.randn(3), requires_grad=False)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.turned = nn.Parameter(torch.randn(2, 3).t())
        self.empty = nn.Parameter(torch.empty(0, 3))
        self.codes = nn.Parameter(torch.arange(3), requires_grad=False)
        self.register_buffer("table", torch.randn(2, 2))
        self.register_buffer("seen", torch.tensor(7))
        self.register_buffer("mask", torch.tensor([True, False]))
        self.register_buffer("index", torch.arange(4, dtype=torch.int32))
        self.register_buffer("bytes", torch.arange(4, dtype=torch.uint8))
        self.register_buffer("cache", torch.randn(9), persistent=False)
        self.register_buffer("absent", None)


@pytest.fixture
def every_kind() -> EveryKind:
    torch.manual_seed(3)
    return EveryKind()


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


@pytest.fixture
def recording_session(monkeypatch) -> type[RecordingSession]:
    monkeypatch.setattr(RecordingSession, "opened", [])
    return RecordingSession

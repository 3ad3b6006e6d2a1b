from __future__ import annotations

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

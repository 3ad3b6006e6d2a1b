from __future__ import annotations

import weakref

import pytest
import torch
from torch import nn

from swarm.pytorch import TorchCallback


class EveryKind(nn.Module):
    """A model with every supported dtype, kind and memory layout."""

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


@pytest.fixture(autouse=True)
def _separate_addresses(separate_addresses: None) -> None:
    """Several peers of a test are in one process."""


@pytest.fixture
def every_kind() -> EveryKind:
    torch.manual_seed(3)
    return EveryKind()


@pytest.fixture
def make_peer(recording_session, tmp_path):
    """Creates callbacks of one peer with recorded sessions; remaining ones leave at the end."""
    recorded = type("Recorded", (TorchCallback,), {"session_factory": recording_session})
    made = weakref.WeakSet()

    def make(**arguments):
        callback = recorded(**({"model": nn.Linear(2, 1), "rendezvous": tmp_path, "name": "ada"} | arguments))
        made.add(callback)
        return callback

    yield make
    for callback in [*made]:
        callback.abort("the test is over")


@pytest.fixture
def broken_loop():
    """A training loop that fails in its second batch."""

    def broken_loop(callback):
        callback.on_train_begin()
        callback.on_batch_end()
        raise ValueError("a broken image")

    return broken_loop


@pytest.fixture
def kept_error_of(broken_loop):
    """The error of such a loop, with its traceback."""

    def kept_error_of(callback):
        with pytest.raises(ValueError, match="a broken image") as caught:
            broken_loop(callback)
        return caught.value

    return kept_error_of

"""Raw PyTorch: a hand-written loop that trains a linear model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import swarm
from benchmarks.hotpath.companion import Companion, require_company, require_untouched
from benchmarks.hotpath.turns import EMPTY, SWARM, Plan, Samples, Turns
from swarm.pytorch import TorchPort


class EmptyCallback:
    """Has the same hook as Swarm's callback, and does nothing."""

    def on_batch_end(self, batch: object = None, loss: object = None) -> None:
        """Do nothing."""


def measure(plan: Plan) -> Samples:
    """Train by ``plan``; the callback's hook is called after every optimizer step."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    step = _training_step(model)
    turns = Turns(plan)
    with Companion(TorchPort(model).schema()) as companion:
        callback = swarm.SwarmCallback(model=model, **companion.arguments())
        callback.on_train_begin()
        arms = {EMPTY: EmptyCallback(), SWARM: callback}
        while not turns.complete:
            _epoch(turns, step, plan.batches, arms.get(turns.begin()))
            turns.end()
        require_untouched(callback.metrics, over=callback.swarm_over)
        companion.finish()
        callback.on_train_end()
        require_company(callback.metrics)
    return turns.samples()


def _training_step(model: nn.Module) -> Callable[[], None]:
    x, y = torch.randn(4, 4), torch.randn(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def _epoch(turns: Turns, step: Callable[[], None], batches: int, callback: Any) -> None:
    if callback is None:
        for _ in range(batches):
            step()
            turns.start()
            turns.stop()
    else:
        for _ in range(batches):
            step()
            turns.start()
            callback.on_batch_end()
            turns.stop()

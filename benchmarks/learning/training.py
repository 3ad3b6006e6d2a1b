"""The loop of every arm, and the test of a model."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.learning import models
from benchmarks.learning.plan import Plan
from swarm.demo.sites import Samples

Batch = tuple[torch.Tensor, torch.Tensor]
AT_ONCE = 1024
"""Samples that a model is tested on at a time."""
_cross_entropy = nn.CrossEntropyLoss()


class Batches:
    """Batches of a site's samples, in an order that a seed gives: the same in every arm."""

    def __init__(self, samples: Samples, size: int, seed: tuple[int, ...]) -> None:
        self._x, self._y = torch.from_numpy(samples.x), torch.from_numpy(samples.y)
        self._size = size
        self._random = np.random.default_rng(seed)

    def __len__(self) -> int:
        """Batches of one epoch: an incomplete one is left out, unless it is the only one."""
        return max(len(self._y) // self._size, 1)

    def epoch(self) -> Iterator[Batch]:
        """One pass over the samples, in a new order."""
        return map(self._of, self._pass())

    def steps(self, count: int) -> Iterator[Batch]:
        """So many batches, pass after pass."""
        return map(self._of, self.rows(count))

    def rows(self, count: int) -> Iterator[NDArray[np.int64]]:
        """Which samples so many batches have, pass after pass."""
        return itertools.islice(itertools.chain.from_iterable(self._pass() for _ in itertools.count()), count)

    def _pass(self) -> Iterator[NDArray[np.int64]]:
        order = self._random.permutation(len(self._y))
        return (order[number * self._size : (number + 1) * self._size] for number in range(len(self)))

    def _of(self, rows: NDArray[np.int64]) -> Batch:
        taken = torch.from_numpy(rows)
        return self._x[taken], self._y[taken]


@dataclass(slots=True)
class Trainee:
    """A model with its optimizer and its batches."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Batches
    planned: int
    """Batches to train."""
    every: int = 1
    """Merges come after a multiple of so many batches: more than 1 where sites differ in their pace."""
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None

    @classmethod
    def of(cls, plan: Plan, samples: Samples, classes: int, seed: int, rank: int, batch: int = 0) -> Trainee:
        """The trainee of a site, or with a ``rank`` after the last site, the one of pooled data."""
        model = models.build(plan.model, samples.x.shape[1:], classes, seed)
        optimizer = models.optimizer(plan.optimizer, model, plan.rate)
        batches = Batches(samples, batch or plan.batch, (seed, rank))
        planned = plan.steps_of(rank) or (plan.epochs or 1) * len(batches)
        every = plan.interval_of(rank) if plan.paces else 1
        return cls(model, optimizer, batches, planned, every, models.scheduler(plan.schedule, optimizer, planned))

    def step(self, batch: Batch) -> torch.Tensor:
        """Train on a batch; returns its loss."""
        x, y = batch
        self.optimizer.zero_grad()
        loss: torch.Tensor = _cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        if self.scheduler:
            self.scheduler.step()
        return loss

    def train(self) -> int:
        """Train without Swarm for as long as planned; returns the steps."""
        for batch in self.batches.steps(self.planned):
            self.step(batch)
        return self.planned


def scores(model: nn.Module, samples: Samples) -> NDArray[np.float32]:
    """The outputs of the model, [samples, classes]."""
    model.eval()
    try:
        with torch.inference_mode():
            parts = [model(part) for part in torch.from_numpy(samples.x).split(AT_ONCE)]
            outputs: NDArray[np.float32] = torch.cat(parts).numpy()
            return outputs
    finally:
        model.train()


def accuracy(model: nn.Module, samples: Samples, shares: NDArray[np.float64] | None = None) -> float:
    """The share of samples that are classified correctly.

    With ``shares``, [classes], classes count as much as these say, and not by their number of samples: the expected
    accuracy on samples that have labels in these proportions.
    """
    right = scores(model, samples).argmax(axis=1) == samples.y
    if shares is None:
        return float(right.mean())
    present = np.unique(samples.y)
    counted = shares[present]
    by_class = np.array([right[samples.y == label].mean() for label in present])
    return float(by_class @ counted / counted.sum())


def auc(model: nn.Module, samples: Samples) -> float:
    """The area under the ROC curve of two classes; equal scores count half."""
    outputs = scores(model, samples).astype(np.float64)
    _, ranks, counts = np.unique(outputs[:, 1] - outputs[:, 0], return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    positive = samples.y == 1
    most = positive.sum() * (~positive).sum()
    return float((middle[ranks][positive].sum() - positive.sum() * (positive.sum() + 1) / 2) / most)


Weights = Mapping[str, torch.Tensor]


def copied(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the model's state."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def distance(one: Weights, other: Weights) -> float:
    """The largest difference of two values, over the tensors that both have."""
    names = one.keys() & other.keys()
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in names)

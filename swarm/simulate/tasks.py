"""The built-in tasks: handwritten digits, divided among peers, and a small network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from swarm.demo import digits, partitions
from swarm.demo.sites import Samples, hold_out
from swarm.simulate.names import TASKS

VALIDATION = 0.1
"""The share of a peer's samples that it validates on."""
BATCH = 32
RATE = 0.05
MOMENTUM = 0.9
HIDDEN = 64


def _digits() -> Samples:
    """1797 images of 8 by 8 pixels, which scikit-learn ships."""
    found = import_module("sklearn.datasets").load_digits()
    return Samples(found.data.astype(np.float32) / np.float32(16), found.target.astype(np.int64))


_LOAD: Mapping[str, Callable[[], Samples]] = {"digits": _digits, "mnist": lambda: Samples(*digits.images())}
assert _LOAD.keys() == TASKS.keys()  # noqa: S101 - both tables say which tasks there are


@dataclass(frozen=True, slots=True, kw_only=True)
class Sites:
    """The data of all peers."""

    train: tuple[Samples, ...]
    validation: tuple[Samples, ...]
    test: Samples
    """A fifth of every class."""


def load(task: str, partition: str, peers: int, seed: int) -> Sites:
    """The data of a task, divided among the peers.

    Raises:
        ConfigurationError: there is no such partition, or the samples do not suffice for so many peers.
        MissingExtraError: the package that ships the data is not installed.
    """
    TASKS[task].require(task)
    samples, random = _LOAD[task](), np.random.default_rng(seed)
    train_rows, test_rows = hold_out(samples.y, random)
    train: list[Samples] = []
    validation: list[Samples] = []
    for part in partitions.divide(samples.y[train_rows], partition, peers, random):
        rows = train_rows[random.permutation(part)]
        held_out = max(round(VALIDATION * len(rows)), 1)
        validation.append(_taken(samples, rows[:held_out]))
        train.append(_taken(samples, rows[held_out:]))
    return Sites(train=tuple(train), validation=tuple(validation), test=_taken(samples, test_rows))


def _taken(samples: Samples, rows: NDArray[np.int64]) -> Samples:
    return Samples(samples.x[rows], samples.y[rows])


class Trainee:
    """A network of one hidden layer, and the batches of one peer; all peers begin with the same weights."""

    def __init__(self, samples: Samples, classes: int, seed: int, rank: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(samples.x.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))
        with torch.no_grad():
            for parameter in self.model.parameters():
                bound = parameter.shape[-1] ** -0.5
                parameter.uniform_(-bound, bound, generator=generator)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=RATE, momentum=MOMENTUM)
        self._x, self._y = torch.from_numpy(samples.x), torch.from_numpy(samples.y)
        self._random = np.random.default_rng((seed, rank))
        self._loss = nn.CrossEntropyLoss()

    def train(self, steps: int) -> Iterator[torch.Tensor]:
        """The loss of each of so many batches, pass after pass over the samples, each in a new order."""
        rows = np.empty(0, np.int64)
        for _ in range(steps):
            while len(rows) < BATCH:
                rows = np.concatenate([rows, self._random.permutation(len(self._y))])
            batch, rows = torch.from_numpy(rows[:BATCH]), rows[BATCH:]
            self.optimizer.zero_grad()
            loss: torch.Tensor = self._loss(self.model(self._x[batch]), self._y[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            yield loss

    def accuracy(self, samples: Samples) -> float:
        """The share of the samples that the model classifies correctly."""
        with torch.inference_mode():
            right = self.model(torch.from_numpy(samples.x)).argmax(dim=1) == torch.from_numpy(samples.y)
        return float(right.double().mean())

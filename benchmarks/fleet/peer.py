"""One peer: trains on its digits until the fleet stops it, and writes a journal.

``python -m benchmarks.fleet.peer DIRECTORY PARENT``; its settings come from ``SWARM_*``, as under ``swarm up``.
Training ends after the round whose number is in ``DIRECTORY/stop``, once this file exists.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from benchmarks.fleet.journal import Journal, Observer, What
from benchmarks.fleet.processes import Training
from swarm import SwarmCallback
from swarm.pytorch.callback import TorchCallback

_PR_SET_PDEATHSIG = 1
BATCH_SIZE = 32
EPOCH = 50
"""Batches of an epoch. A DataLoader forks its workers in each epoch."""


def main() -> None:
    """Train, then test the closing model."""
    _end_with_parent(int(sys.argv[2]))
    directory = Path(sys.argv[1])
    training = Training(**json.loads((directory / "training.json").read_text(encoding="utf-8")))
    name, rank = os.environ["SWARM_NAME"], int(os.environ["SWARM_RANK"])
    journal = Journal(directory / "events" / f"{name}-{os.getpid()}.jsonl", name, os.getpid())
    observer = Observer(journal)
    TorchCallback.session_factory = staticmethod(observer.session)
    torch.set_num_threads(1)
    torch.manual_seed(training.seed)
    train, test = (_load(directory / "data" / f"peer-{rank}" / f"{part}.npz") for part in ("train", "test"))
    pixels = train.tensors[0].shape[1]
    model = nn.Sequential(nn.Linear(pixels, training.hidden), nn.ReLU(), nn.Linear(training.hidden, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    callback = SwarmCallback(model=model, sync_interval=training.sync_interval)

    journal.note(What.BEGINS)
    callback.on_train_begin()
    journal.note(What.BEGUN)
    generator = torch.Generator().manual_seed(1000 * training.seed + rank)
    sampler = RandomSampler(train, replacement=True, num_samples=EPOCH * BATCH_SIZE, generator=generator)
    loader = DataLoader(train, BATCH_SIZE, sampler=sampler, num_workers=training.workers(name))
    _train(model, optimizer, loader, callback, Stop(directory / "stop", observer), training.pause)
    callback.on_train_end()
    journal.note(What.DONE, accuracy=_accuracy(model, test))
    journal.close()


def _end_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent ends, even if this process is frozen then."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended while this process was starting
        sys.exit("the fleet is gone")


class Stop:
    """Whether training must end. Asked after every batch, it reads the file once after each round."""

    def __init__(self, path: Path, observer: Observer) -> None:
        self._path = path
        self._observer = observer
        self._seen = -1

    def __bool__(self) -> bool:
        if self._seen == self._observer.round:
            return False
        self._seen = self._observer.round
        return self._path.exists() and self._seen >= int(self._path.read_text(encoding="utf-8"))


def _train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: DataLoader[tuple[torch.Tensor, ...]],
    callback: SwarmCallback,
    stop: Stop,
    pause: float,
) -> None:
    cross_entropy = nn.CrossEntropyLoss()
    while True:
        for images, digits in loader:
            loss = cross_entropy(model(images), digits)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            time.sleep(pause)
            callback.on_batch_end()
            if stop or callback.swarm_over:
                return
        callback.on_epoch_end()


def _accuracy(model: nn.Module, test: TensorDataset) -> float:
    images, digits = test.tensors
    with torch.inference_mode():
        return float((model(images).argmax(dim=1) == digits).double().mean().item())


def _load(path: Path) -> TensorDataset:
    with np.load(path, allow_pickle=False) as arrays:  # noqa: TID251 - allow_pickle=False
        return TensorDataset(torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"]))


if __name__ == "__main__":
    main()

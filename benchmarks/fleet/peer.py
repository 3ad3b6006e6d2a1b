"""One peer: trains on its digits until it is told to stop, and writes down what happens to it.

``python -m benchmarks.fleet.peer DIRECTORY``; its place in the swarm comes from ``SWARM_*``, as under ``swarm up``.
``DIRECTORY/stop``, once it is there, holds the number of the round after which training ends.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from benchmarks.fleet.journal import Journal, What
from benchmarks.fleet.observer import Observer
from swarm import SwarmCallback
from swarm.pytorch.callback import TorchCallback

_PR_SET_PDEATHSIG = 1
BATCH_SIZE = 32
EPOCH = 50
"""Batches of an epoch: a DataLoader forks its workers anew in each."""


def main() -> None:
    """Train, and test the closing model."""
    options = _arguments()
    name, rank = os.environ["SWARM_NAME"], int(os.environ["SWARM_RANK"])
    directory: Path = options.directory
    journal = Journal(directory / "events" / f"{name}-{os.getpid()}.jsonl", name, os.getpid())
    observer = Observer(journal)
    TorchCallback.session_factory = staticmethod(observer.session)
    _end_with_parent()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    train, test = (_load(directory / "data" / f"peer-{rank}" / f"{part}.npz") for part in ("train", "test"))
    pixels = train.tensors[0].shape[1]
    model = nn.Sequential(nn.Linear(pixels, options.hidden), nn.ReLU(), nn.Linear(options.hidden, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    callback = SwarmCallback(model=model, sync_interval=options.sync_interval)

    journal.note(What.BEGINS)
    callback.on_train_begin()
    journal.note(What.BEGUN)
    generator = torch.Generator().manual_seed(1000 * options.seed + rank)
    sampler = RandomSampler(train, replacement=True, num_samples=EPOCH * BATCH_SIZE, generator=generator)
    loader = DataLoader(train, BATCH_SIZE, sampler=sampler, num_workers=options.workers)
    _train(model, optimizer, loader, callback, Stop(directory / "stop", observer), options.pause)
    callback.on_train_end()
    journal.note(What.DONE, accuracy=_accuracy(model, test))
    journal.close()


def _end_with_parent() -> None:
    """Be killed when whoever started this process dies, however that happens, even if this process is frozen then."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Stop:
    """Whether training is to end; asked after every batch, looks only after a round."""

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
    with np.load(path) as arrays:
        return TensorDataset(torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet.peer", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--hidden", type=int, required=True, help="units of the hidden layer")
    parser.add_argument("--sync-interval", type=int, required=True)
    parser.add_argument("--pause", type=float, required=True, help="seconds that a batch takes beside its computation")
    parser.add_argument("--workers", type=int, required=True, help="of the DataLoader")
    return parser.parse_args()


if __name__ == "__main__":
    main()

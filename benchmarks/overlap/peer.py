"""One peer: ``python -m benchmarks.overlap.peer``.

Each order has the plan, the peer's rank, the directory in which it finds the others, and the arm to train with.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness.workers import connect
from swarm.config import resolve
from swarm.pytorch import TorchPort
from swarm.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Equal for all peers of a run."""

    peers: int
    mib: float
    """Size of the model, float32."""
    tensors: int
    """How many tensors it consists of; all of one size."""
    interval: int
    """Batches between two sync points."""
    step: float
    """Seconds of a batch."""
    work: str
    """What a batch does in that time: "sleep", or "compute" on one core."""
    warmup: int
    """Rounds that do not count."""
    rounds: int
    """Rounds that count."""

    @property
    def values(self) -> int:
        """Elements of each tensor."""
        return max(int(self.mib * 2**20) // 4 // self.tensors, 1)


@dataclass(slots=True)
class Samples:
    """One number for each round that counts."""

    stall: list[float] = field(default_factory=list)
    """Seconds that the training spent in ``Session.advance`` since the round before."""
    seconds: list[float] = field(default_factory=list)
    """From the sync point to the merged weights in the model."""


class Trainee:
    """A model, and batches that take a given time."""

    def __init__(self, plan: Plan, rank: int) -> None:
        self.model = torch.nn.ParameterList(torch.zeros(plan.values) for _ in range(plan.tensors))
        self._plan = plan
        generator = torch.Generator().manual_seed(rank)
        self._noise = torch.randn(plan.values, generator=generator)
        self._batches = 0
        self._square = np.ones((128, 128), np.float32)
        self._work: Callable[[], None] = {"sleep": self._sleep, "compute": self._compute}[plan.work]

    def batch(self) -> None:
        """Train; the last batch before a sync point changes all weights, of each peer differently."""
        self._work()
        self._batches += 1
        if self._batches % self._plan.interval == 0:
            with torch.no_grad():
                for number, parameter in enumerate(self.model):
                    parameter.add_(self._noise.roll(number + self._batches), alpha=0.01)

    def _sleep(self) -> None:
        time.sleep(self._plan.step)

    def _compute(self) -> None:
        until = time.perf_counter() + self._plan.step
        while time.perf_counter() < until:
            self._square @ self._square


def train(plan: Plan, rank: int, rendezvous: Path, *, overlap: bool) -> Samples:
    """Train for as many rounds as planned.

    Raises:
        RuntimeError: a round was not one of all peers.
    """
    trainee, samples = Trainee(plan, rank), Samples()
    settings = resolve(
        {
            "name": f"peer-{rank:02}",
            "world_size": plan.peers,
            "min_peers": plan.peers,
            "sync_interval": plan.interval,
            "failure_timeout": 30.0,
            "rendezvous": rendezvous / str(overlap),
            "overlap": overlap,
        },
        environment={},
    ).settings
    session = Session(settings, TorchPort(trainee.model))
    session.begin()
    stall, left = 0.0, plan.warmup + plan.rounds
    while left:
        trainee.batch()
        began = time.perf_counter()
        report = session.advance()
        stall += time.perf_counter() - began
        if report is None:
            continue
        if len(report.contributors) != plan.peers:
            raise RuntimeError(f"not a round of {plan.peers} peers: {report}")
        left -= 1
        if left < plan.rounds:
            samples.stall.append(stall)
            samples.seconds.append(report.seconds)
        stall = 0.0
    session.end()
    return samples


def main() -> None:
    """Answer all orders."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    orders, answer = connect()
    for order in orders:
        plan, rendezvous = Plan(**order["plan"]), Path(order["rendezvous"])
        answer(asdict(train(plan, order["rank"], rendezvous, overlap=order["arm"] == "overlapped")))


if __name__ == "__main__":
    main()

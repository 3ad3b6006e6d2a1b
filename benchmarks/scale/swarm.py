"""A whole swarm in one process: real sessions on the memory transport, without training."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.scale.traffic import CountingTransport, Traffic
from swarm.config import resolve
from swarm.plugins import PluginRegistry
from swarm.session import Session
from swarm.session.wiring import Network
from swarm.testing.swarm import ArrayModel, Board, together
from swarm.transport.memory import MemoryNetwork

DEADLINE = 600.0
"""Seconds for one swarm."""
FAILURE_TIMEOUT = 120.0
"""Of the peers, in seconds: they share this process, so that all are slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the rounds of one swarm needed."""

    rounds: int
    model_bytes: int
    sent: Sequence[Traffic]
    """In these rounds, by each peer."""
    cpu_seconds: float
    """Of all peers together."""
    seconds: float
    joining: Sequence[Traffic]
    """Until all peers had met and had the same initial weights, by each peer."""
    joining_seconds: float


class Swarm:
    """Peers that merge after every batch."""

    def __init__(self, peers: int, values: int) -> None:
        self._network = MemoryNetwork()
        self._addresses: dict[str, str] = {}
        self._values = values
        self._traffic = [Traffic() for _ in range(peers)]
        self._gate = threading.Barrier(peers, timeout=DEADLINE)
        self._models = [ArrayModel({"w": np.zeros(values, np.float32)}) for _ in range(peers)]
        self._sessions = [self._session(rank, peers) for rank in range(peers)]
        self._moments: list[tuple[float, float, list[Traffic]]] = []

    def measure(self, rounds: int, warmup: int) -> Sample:
        """Let all peers merge.

        Raises:
            RuntimeError: a round was not one of all peers, or did not give their mean.
        """
        self._note()
        programs = [partial(self._train, rank, rounds, warmup) for rank in range(len(self._sessions))]
        together(*programs, deadline=DEADLINE)
        (opened, _, _), (joined, _, greeted), (began, cpu, before), (ended, cpu_after, after) = self._moments
        return Sample(
            rounds=rounds,
            model_bytes=4 * self._values,
            sent=[now.since(then) for then, now in zip(before, after, strict=True)],
            cpu_seconds=cpu_after - cpu,
            seconds=ended - began,
            joining=greeted,
            joining_seconds=joined - opened,
        )

    def _session(self, rank: int, peers: int) -> Session:
        given = {
            "name": f"peer-{rank:02}",
            "listen": "127.0.0.1:0",
            "world_size": peers,
            "min_peers": peers,
            "sync_interval": 1,
            "failure_timeout": FAILURE_TIMEOUT,
        }
        settings = resolve(given, environment={}, directory=Path("no swarm.toml here")).settings
        logger = logging.Logger(settings.name, logging.ERROR)  # noqa: LOG001 - quiet, outside the process's hierarchy
        return Session(
            settings,
            self._models[rank],
            logger=logger,
            plugins=PluginRegistry(settings.disabled_plugins),
            network=lambda _settings, _plugins: Network(
                CountingTransport(self._network, self._traffic[rank]), [Board(self._addresses, settings.model_name)]
            ),
        )

    def _train(self, rank: int, rounds: int, warmup: int) -> None:
        session, weights = self._sessions[rank], self._models[rank].arrays["w"]
        session.begin()
        self._together(rank, note=True)
        for number in range(warmup + rounds):
            self._together(rank, note=number == warmup)
            weights[...] = rank + number
            report = session.advance()
            mean = (len(self._sessions) - 1) / 2 + number
            if report is None or len(report.contributors) != len(self._sessions) or not (weights == mean).all():
                raise RuntimeError(f"not a round of {len(self._sessions)} peers with their mean: {report}")
        self._together(rank, note=True)
        session.abort("measured")

    def _together(self, rank: int, *, note: bool) -> None:
        """Wait for the others. With ``note``, one peer then records time and traffic, while the others wait."""
        self._gate.wait()
        if note and rank == 0:
            self._note()
        self._gate.wait()

    def _note(self) -> None:
        traffic = [each.copy() for each in self._traffic]
        self._moments.append((time.perf_counter(), time.process_time(), traffic))

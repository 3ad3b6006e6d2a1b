"""Real sessions, each with a connection of its own to real servers, which are killed in the middle of rounds."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

import swarm
from swarm.config import resolve
from swarm.plugins import PluginRegistry
from swarm.records import Outcome
from swarm.session import Session
from swarm.session.wiring import Network
from swarm.testing import ArrayModel, together
from swarm_nats.discovery import NatsDiscovery
from swarm_nats.settings import HubSettings
from swarm_nats.transport import NatsTransport

FAILURE_TIMEOUT = 4.0
OUTAGE = 5.0
NAMES = ("ada", "bob", "cyd")
VALUES = 4 * 2**20
"""Of 4 bytes: a round takes long enough to be in the middle of it."""
DEADLINE = 60.0


class Peer:
    """One session that trains until it is told to stop, and the times of its rounds."""

    def __init__(self, name: str, hub: HubSettings) -> None:
        settings = resolve(
            {
                "name": name,
                "world_size": len(NAMES),
                "sync_interval": 4,
                "failure_timeout": FAILURE_TIMEOUT,
                "start_timeout": DEADLINE,
                "discovery": "nats",
                "transport": "nats",
            },
            environment={},
            directory=Path("no swarm.toml here"),
        ).settings
        self.model = ArrayModel({"w": np.full(VALUES, NAMES.index(name), np.float32)})
        self.changed = threading.Condition()
        self.started: list[int] = []
        self.merged: list[float] = []
        self.stop = threading.Event()
        self.session = Session(
            settings,
            self.model,
            plugins=PluginRegistry(extra={"recorder": self}),
            network=lambda _settings, _plugins: Network(
                NatsTransport(hub, failure_timeout=FAILURE_TIMEOUT), [NatsDiscovery(hub, settings.model_name)]
            ),
        )

    def train(self) -> bytes:
        self.session.begin()
        while not self.stop.wait(0.01):
            self.model.arrays["w"] += 0.5
            self.session.advance()
        self.session.end()
        return self.model.arrays["w"].tobytes()

    @swarm.hookimpl
    def swarm_round_started(self, event):
        with self.changed:
            self.started.append(event.round)
            self.changed.notify_all()

    @swarm.hookimpl
    def swarm_round_finished(self, event):
        if event.report.outcome is Outcome.MERGED and len(event.report.group) == len(NAMES):
            with self.changed:
                self.merged.append(time.monotonic())
                self.changed.notify_all()

    def wait_until_started(self, number: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: number in self.started, DEADLINE), f"round {number} never began"

    def next_merge(self, since: float) -> float:
        """Seconds after ``since`` until a round of all merged."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.merged and self.merged[-1] > since, DEADLINE), "no round merged"
            return next(at for at in self.merged if at > since) - since


def trained_while(peers: list[Peer], disturb) -> list[bytes]:
    """What the peers ended with, after ``disturb`` has run beside their training."""

    def disturbed() -> None:
        try:
            disturb()
        finally:
            for peer in peers:
                peer.stop.set()

    *models, _ = together(*(peer.train for peer in peers), disturbed, deadline=2 * DEADLINE)
    return models


def told(what: str, took: list[float]) -> None:
    """For whoever runs the test with ``-s``."""
    print(f"\nseconds from {what} until a round of all merged:", *(f"{each:.2f}" for each in took))


@pytest.mark.timeout(150)
def test_a_server_that_is_gone_in_a_round_costs_little_more_than_its_absence(server):
    peers = [Peer(name, server.settings) for name in NAMES]
    took: list[float] = []

    def disturb() -> None:
        peers[0].wait_until_started(3)
        server.kill()
        threading.Event().wait(OUTAGE)
        server.start()
        back = time.monotonic()
        took.extend(peer.next_merge(back) for peer in peers)

    models = trained_while(peers, disturb)
    told("the return of the server", took)
    assert len(set(models)) == 1
    assert max(took) < 3 * FAILURE_TIMEOUT


@pytest.mark.timeout(150)
def test_a_cluster_loses_a_server_in_a_round(cluster):
    urls = [each.url for each in cluster]
    hubs = [HubSettings((*urls[number:], *urls[:number]), replicas=3) for number in range(3)]
    peers = list(map(Peer, NAMES, hubs))
    took: list[float] = []

    def disturb() -> None:
        peers[0].wait_until_started(3)
        cluster[0].kill()
        killed = time.monotonic()
        took.extend(peer.next_merge(killed) for peer in peers)

    models = trained_while(peers, disturb)
    told("the death of one of three servers", took)
    assert len(set(models)) == 1
    assert max(took) < FAILURE_TIMEOUT

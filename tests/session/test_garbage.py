"""The memory of a round is freed without Python's collector: each round uses that of a whole model."""

from __future__ import annotations

import gc
from functools import partial

import numpy as np
import pytest

from swarm.config import resolve
from swarm.discovery.directory import DirectoryDiscovery
from swarm.exchange.exchange import Exchange
from swarm.session import Session
from swarm.session.wiring import Network, network_of
from swarm.testing.nodes import eventually
from swarm.testing.swarm import ArrayModel, together
from swarm.transport.memory import MemoryNetwork, MemoryTransport
from swarm.transport.shared import SharedAddress

PEERS = 3
ROUNDS = 10


@pytest.fixture
def no_collector():
    # Without collecting first: TensorFlow's iterators, which other tests leave, may wait for Python's lock for ever
    # when they are freed by the thread that holds it.
    gc.disable()
    yield
    gc.enable()


def exchanges() -> int:
    return sum(type(each) is Exchange for each in gc.get_objects())


def in_memory():
    memory = MemoryNetwork()
    return lambda settings, _plugins: Network(MemoryTransport(memory), [DirectoryDiscovery(settings.rendezvous, "s")])


def as_configured(settings, plugins):
    return network_of(settings, plugins, SharedAddress())  # each peer stands for a process


@pytest.mark.parametrize("network", [as_configured, in_memory()], ids=["as configured", "in memory"])
@pytest.mark.usefixtures("no_collector")
def test_the_exchange_of_a_round_is_freed_without_the_collector(tmp_path, network):
    def train(rank: int) -> None:
        given = {"name": f"peer-{rank}", "world_size": PEERS, "sync_interval": 1, "rendezvous": str(tmp_path)}
        settings = resolve(given, environment={}, directory=tmp_path).settings
        session = Session(settings, ArrayModel({"w": np.zeros(10)}), network=network)
        session.begin()
        for _ in range(ROUNDS):
            session.advance()
        session.end()
        assert session.metrics()["swarm_rounds"] > ROUNDS

    before = exchanges()
    together(*(partial(train, rank) for rank in range(PEERS)))
    eventually(lambda: exchanges() <= before, "the transport's threads let go of the last exchange")

from __future__ import annotations

import pytest

from swarm.testing.nodes import Node
from swarm.testing.transports import TransportContract
from swarm.transport.grpc import GrpcTransport
from swarm.transport.lane import LaneTransport
from swarm.transport.memory import MemoryNetwork, MemoryTransport


class TestMemoryTransport(TransportContract):
    @pytest.fixture(autouse=True)
    def network(self):
        self.memory = MemoryNetwork()

    def make(self):
        return MemoryTransport(self.memory)

    def kill(self, node: Node) -> None:
        self.memory.kill(node.address)


class TestGrpcTransport(TransportContract):
    def make(self):
        return GrpcTransport()


class TestLaneTransport(TransportContract):
    def make(self):
        return LaneTransport(GrpcTransport(), "127.0.0.1")


class TestLaneTransportThatFallsBack(TransportContract):
    """Nobody gets a lane, so that weights travel as the control transport carries them."""

    def make(self):
        transport = LaneTransport(GrpcTransport(), "127.0.0.1")
        transport._control.offer_lanes = lambda _issue: None
        return transport

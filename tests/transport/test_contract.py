from __future__ import annotations

import pytest

from swarm.testing.nodes import Node
from swarm.testing.transports import TransportContract
from swarm.transport.grpc import GrpcTransport
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

from __future__ import annotations

import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from swarm.identity import Identity
from swarm.identity.throwaway import make_identities
from swarm.testing.nodes import Node
from swarm.testing.one_way import OneWayContract
from swarm.testing.transports import TransportContract
from swarm.transport.data_channel import DataChannelTransport
from swarm.transport.grpc import GrpcTransport
from swarm.transport.local import LocalTransport
from swarm.transport.memory import MemoryNetwork, MemoryTransport


class TestMemoryTransport(TransportContract):
    @pytest.fixture(autouse=True)
    def network(self):
        self.memory = MemoryNetwork()

    def make(self):
        return MemoryTransport(self.memory)

    def kill(self, node: Node) -> None:
        self.memory.kill(node.address)


class TestLocalTransport(TransportContract):
    @pytest.fixture(autouse=True)
    def directory(self):
        with tempfile.TemporaryDirectory() as directory:  # pytest's own has too long a name for a socket
            self.directory = Path(directory)
            yield

    def make(self):
        return LocalTransport(self.directory)


class TestGrpcTransport(TransportContract):
    def make(self):
        return GrpcTransport()


class TestDataChannelTransport(TransportContract):
    def make(self):
        return DataChannelTransport(GrpcTransport(), "127.0.0.1")


class WithoutDataChannels(GrpcTransport):
    """Offers none to others."""

    def offer_data_channels(self, data_channels):
        pass


class TestDataChannelTransportThatFallsBack(TransportContract):
    """Nobody gets a data channel, so that weights travel as the control transport carries them."""

    def make(self):
        return DataChannelTransport(WithoutDataChannels(), "127.0.0.1")


class TestGrpcTransportWithTls(TransportContract):
    @pytest.fixture(autouse=True)
    def identity(self, tmp_path):
        make_identities({"sender": tmp_path / "identity"})
        self.directory = tmp_path / "identity"

    def make(self):
        return GrpcTransport(identity=Identity(self.directory))


class TestDataChannelTransportWithTls(TestGrpcTransportWithTls):
    def make(self):
        return DataChannelTransport(super().make(), "127.0.0.1")


class Shut:
    """Has addresses of this machine to which nobody can connect."""

    @pytest.fixture(autouse=True)
    def shut(self):
        with ExitStack() as self.bound:
            yield

    @property
    def place(self):
        bound = self.bound.enter_context(socket.socket())
        bound.bind(("127.0.0.1", 0))  # and does not listen
        return f"127.0.0.1:{bound.getsockname()[1]}"


class TestGrpcTransportOneWay(Shut, OneWayContract):
    def make(self):
        return GrpcTransport()

    def make_one_way(self):
        return GrpcTransport(advertise=self.place)


class TestDataChannelTransportOneWay(Shut, OneWayContract):
    def make(self):
        return DataChannelTransport(GrpcTransport(), "127.0.0.1")

    def make_one_way(self):
        return DataChannelTransport(GrpcTransport(advertise=self.place), "127.0.0.1")


class TestGrpcTransportOneWayWithTls(Shut, OneWayContract):
    @pytest.fixture(autouse=True)
    def identity(self, tmp_path):
        make_identities({"sender": tmp_path / "identity"})
        self.directory = tmp_path / "identity"

    def make(self):
        return GrpcTransport(identity=Identity(self.directory))

    def make_one_way(self):
        return GrpcTransport(advertise=self.place, identity=Identity(self.directory))


class TestDataChannelTransportOneWayWithTls(TestGrpcTransportOneWayWithTls):
    def make(self):
        return DataChannelTransport(super().make(), "127.0.0.1")

    def make_one_way(self):
        return DataChannelTransport(super().make_one_way(), "127.0.0.1")

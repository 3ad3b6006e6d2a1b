"""Peers whose weights travel over data channels."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from dataclasses import replace

import pytest

from swarm.clock import ManualClock
from swarm.messages import DataChannelRequest
from swarm.testing.nodes import DEADLINE, Node
from swarm.transport.data_channel import DataChannelTransport
from swarm.transport.data_channel.headers import MAGIC, PREAMBLE, VERSION
from swarm.transport.grpc import GrpcTransport


class SpiedControl(GrpcTransport):
    """Counts what data channels ask of it; ``offer`` may change what it offers."""

    def __init__(self, **options):
        super().__init__(**options)
        self.asked = 0
        self.uploads = 0
        self.offer = None

    def offer_data_channels(self, data_channels):
        def issue(request):
            offer = data_channels.issue(request)
            return self.offer(offer) if self.offer else offer

        super().offer_data_channels(replace(data_channels, issue=issue))

    def ask_data_channel(self, address, request, timeout):
        self.asked += 1
        return super().ask_data_channel(address, request, timeout)

    def upload(self, address, header, frames, done):
        self.uploads += 1
        return super().upload(address, header, frames, done)


class DataChannelNode(Node):
    def __init__(self, failure_timeout=10.0):
        self.clock = ManualClock()
        self.control = SpiedControl(failure_timeout=failure_timeout)
        super().__init__(
            DataChannelTransport(self.control, "127.0.0.1", failure_timeout=failure_timeout, clock=self.clock)
        )

    def sends(self, target, numbers):
        """Send one small stream after the other."""
        for number in numbers:
            assert self.upload(target.address, [[b"round ", b"%d" % number]], number=number).wait() is None
            assert target.handler.streams[number] == [b"round %d" % number]

    def offered(self):
        """A data channel to it, for a peer that the handler takes streams from."""
        return self.control.ask_data_channel(
            self.address, DataChannelRequest("session", "sender", "incarnation"), DEADLINE
        )

    @contextmanager
    def connected(self, preamble=None):
        """A connection to its data channel, with a token unless another preamble is given."""
        offer = self.offered()
        with socket.create_connection(("127.0.0.1", offer.port), DEADLINE) as sock:
            sock.sendall(PREAMBLE.pack(MAGIC, VERSION, offer.token) if preamble is None else preamble)
            yield sock


@pytest.fixture
def node():
    nodes = []

    def make(**options):
        nodes.append(DataChannelNode(**options))
        return nodes[-1]

    yield make
    for each in nodes:
        each.transport.close(0.0)


@pytest.fixture
def told(caplog):
    caplog.set_level("INFO", "swarm.transport")
    return lambda: [text for text in caplog.messages if "travel over" in text]

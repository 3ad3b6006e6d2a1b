"""Peers whose weights travel over lanes."""

from __future__ import annotations

import socket
from contextlib import contextmanager

import pytest

from swarm.clock import ManualClock
from swarm.messages import LaneRequest
from swarm.testing.nodes import DEADLINE, Node
from swarm.transport.grpc import GrpcTransport
from swarm.transport.lane import LaneTransport
from swarm.transport.lane.marks import MAGIC, PREAMBLE, VERSION


class SpiedControl(GrpcTransport):
    """Counts what lanes ask of it; ``offer`` may change what it offers."""

    def __init__(self, **options):
        super().__init__(**options)
        self.asked = 0
        self.uploads = 0
        self.offer = None

    def offer_lanes(self, issue):
        super().offer_lanes(lambda request: self.offer(issue(request)) if self.offer else issue(request))

    def ask_lane(self, address, request, timeout):
        self.asked += 1
        return super().ask_lane(address, request, timeout)

    def upload(self, address, header, frames, done):
        self.uploads += 1
        return super().upload(address, header, frames, done)


class LaneNode(Node):
    def __init__(self, failure_timeout=10.0):
        self.clock = ManualClock()
        self.control = SpiedControl(failure_timeout=failure_timeout)
        super().__init__(LaneTransport(self.control, "127.0.0.1", failure_timeout=failure_timeout, clock=self.clock))

    def sends(self, target, numbers):
        """Send one small stream after the other."""
        for number in numbers:
            assert self.upload(target.address, [[b"round ", b"%d" % number]], number=number).wait() is None
            assert target.handler.streams[number] == [b"round %d" % number]

    def offered(self):
        """A lane to it, for a peer that the handler takes streams from."""
        return self.control.ask_lane(self.address, LaneRequest("session", "sender", "incarnation"), DEADLINE)

    @contextmanager
    def knocked(self, preamble=None):
        """A connection to its lane, with a ticket unless another preamble is given."""
        offer = self.offered()
        with socket.create_connection(("127.0.0.1", offer.port), DEADLINE) as sock:
            sock.sendall(PREAMBLE.pack(MAGIC, VERSION, offer.ticket) if preamble is None else preamble)
            yield sock


@pytest.fixture
def node():
    nodes = []

    def make(**options):
        nodes.append(LaneNode(**options))
        return nodes[-1]

    yield make
    for each in nodes:
        each.transport.close(0.0)


@pytest.fixture
def told(caplog):
    caplog.set_level("INFO", "swarm.transport")
    return lambda: [text for text in caplog.messages if "travel over" in text]

"""A slow link is no silence: what takes longer than ``failure_timeout`` still arrives."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from swarm.testing.nodes import Node, RecordingSink
from swarm.transport.base import HEAD_BYTES
from swarm.transport.grpc import GrpcTransport

MIB = 2**20
RATE = MIB
"""Bytes per second of each connection, each way."""
FAILURE_TIMEOUT = 1.0
CHUNK = bytes(2 * MIB)
"""It alone takes longer than that."""


class SlowLink:
    """Passes connections on to ``port``, at a pace."""

    def __init__(self, port):
        self._port = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._ends = [self._server]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        for end in self._ends:
            end.close()

    def _accept(self):
        try:
            while True:
                here, _ = self._server.accept()
                there = socket.create_connection(("127.0.0.1", self._port))
                self._ends += [here, there]
                for source, target in ((here, there), (there, here)):
                    threading.Thread(target=self._pass, args=(source, target), daemon=True).start()
        except OSError:
            pass

    def _pass(self, source, target):
        began, passed = time.monotonic(), 0
        try:
            while data := source.recv(1 << 14):
                passed += len(data)
                began = max(began, time.monotonic() - passed / RATE - 0.1)  # what was not used is gone
                time.sleep(max(0.0, began + passed / RATE - time.monotonic()))
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.fixture
def nodes():
    made = [Node(GrpcTransport(failure_timeout=FAILURE_TIMEOUT)) for _ in range(2)]
    yield made
    for each in made:
        each.transport.close(0.0)


@pytest.fixture
def link(nodes):
    _, there = nodes
    link = SlowLink(int(there.address.rpartition(":")[2]))
    yield link
    link.close()


def test_weights_arrive_however_long_they_take(nodes, link):
    (a, b), sink = nodes, RecordingSink()
    b.handler.sink = sink
    assert a.upload(link.address, [[b"P" * HEAD_BYTES, CHUNK]] * 2).wait() is None
    assert sink.taken == [b"P" * HEAD_BYTES + CHUNK] * 2
    assert sink.progresses >= 2  # at a time when the whole would have been taken for silence
    assert not a.handler.lost
    assert not b.handler.lost


def test_a_model_is_fetched_however_long_it_takes(nodes, link):
    a, b = nodes
    b.handler.served = lambda: [[CHUNK]] * 2
    assert a.fetch(link.address, timeout=FAILURE_TIMEOUT) == [CHUNK] * 2

"""Connections whose bytes are encrypted."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from swarm.errors import DataChannelError, UntrustedPeerError
from swarm.identity import Identity
from swarm.identity.throwaway import make_identities
from swarm.testing.nodes import DEADLINE, eventually
from swarm.transport.data_channel.security import (
    BATCH_BYTES,
    JOINED_BYTES,
    RECORD_BYTES,
    SecureStream,
    accept,
    connect,
    connection_of,
)

MIB = 2**20
pytestmark = pytest.mark.timeout(3 * DEADLINE)


class CountingSocket(socket.socket):
    """Counts the calls that receive, and those that send."""

    calls = 0
    sendings = 0

    def recv_into(self, *arguments):
        self.calls += 1
        return super().recv_into(*arguments)

    def sendall(self, *arguments):
        self.sendings += 1
        return super().sendall(*arguments)


@pytest.fixture
def identities(tmp_path):
    names = ("berlin", "paris")
    make_identities({name: tmp_path / name for name in names})
    return [Identity(tmp_path / name) for name in names]


@pytest.fixture
def sockets():
    """Both ends of a connection, which count."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname(), DEADLINE)
        far, _ = server.accept()
    near, far = (CountingSocket(fileno=end.detach()) for end in (near, far))
    with near, far:
        yield near, far


@pytest.fixture
def background():
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit


@pytest.fixture
def streams(identities, sockets, background):
    """Both ends, encrypted."""
    accepted = background(accept, sockets[1], identities[1], DEADLINE)
    near = connect(sockets[0], identities[0], "paris", DEADLINE)
    far, name = accepted.result(DEADLINE)
    assert name == "berlin"
    return near, far


@pytest.fixture
def pair(streams):
    """Connections of which neither would show progress during a test."""
    return [connection_of(stream, 40 * DEADLINE) for stream in streams]


@pytest.mark.parametrize(
    "sizes",
    [
        [1],
        [RECORD_BYTES],
        [2 * RECORD_BYTES + 1],
        [9, BATCH_BYTES],
        [BATCH_BYTES - 1, 1, BATCH_BYTES + 1],
        [9, JOINED_BYTES, JOINED_BYTES + 1, 7, 2 * MIB + 5],
        [5000] * 200,
        [0, 3, 0],
    ],
    ids=str,
)
def test_what_is_sent_arrives_and_nothing_more_is_waited_for(pair, background, sizes):
    near, far = pair
    buffers = [os.urandom(size) for size in sizes]
    for step in (sum(sizes), RECORD_BYTES + 3):
        sent, whole = background(near.send, buffers), memoryview(bytearray(sum(sizes)))
        for start in range(0, len(whole), step):
            far.receive_into(whole[start : start + step])
        sent.result(DEADLINE)
        assert whole == b"".join(buffers)
        assert not far.readable()


def test_a_frame_is_received_in_few_calls(pair, sockets, background):
    near, far = pair
    for _ in range(3):
        sent, before = background(near.send, [b"header", bytes(2 * MIB)]), sockets[1].calls
        far.receive_into(memoryview(bytearray(6 + 2 * MIB)))
        sent.result(DEADLINE)
        assert sockets[1].calls - before <= 2 * MIB / BATCH_BYTES + 8


def test_a_frame_is_sent_in_one_call_for_each_batch(pair, sockets, background):
    near, far = pair
    received, before = background(far.receive, 6 + 2 * MIB), sockets[0].sendings
    near.send([b"header", bytes(2 * MIB)])
    assert received.result(DEADLINE) == b"header" + bytes(2 * MIB)
    assert sockets[0].sendings - before == 2 * MIB / BATCH_BYTES


def test_what_was_received_with_something_else_is_readable(pair):
    near, far = pair
    near.send([b"one"])
    near.send([b"two"])
    eventually(lambda: len(far._socket.recv(99, socket.MSG_PEEK)) >= 2 * (3 + 22), "both have arrived")
    assert far.receive(3) == b"one"
    assert far.readable()
    assert far.receive(3) == b"two"
    assert not far.readable()


def test_a_slow_frame_shows_progress(streams, background):
    near, far = (connection_of(stream, 0.4) for stream in streams)
    whole, shown, filled = bytearray(MIB), threading.Event(), []

    def progress(count):
        filled.append(count)
        shown.set()

    received = background(far.receive_into, memoryview(whole), progress)
    near.send([b"x" * (MIB // 2)])
    assert shown.wait(DEADLINE)
    assert 0 < filled[0] <= MIB // 2
    assert not received.done()
    near.send([b"x" * (MIB // 2)])
    received.result(DEADLINE)
    assert bytes(whole) == b"x" * MIB


@pytest.mark.parametrize("size", [9, MIB])
def test_breaking_ends_whoever_receives(pair, background, size):
    _, far = pair
    received = background(far.receive, size)
    far.break_()
    with pytest.raises(DataChannelError, match="closed"):
        received.result(DEADLINE)


def test_breaking_ends_whoever_sends(pair, background):
    near, _ = pair
    sent = background(near.send, [bytes(64 * MIB)])
    near.break_()
    with pytest.raises(DataChannelError, match="the connection was closed"):
        sent.result(DEADLINE)


@pytest.mark.parametrize("size", [9, MIB])
def test_the_end_of_the_encryption_ends_the_connection(pair, streams, size):
    _, far = pair
    near = streams[0]
    with pytest.raises(ssl.SSLWantReadError):
        near.tls.unwrap()
    near.sock.sendall(near.outgoing.read())
    near.sock.shutdown(socket.SHUT_WR)  # the end itself is shorter than what is awaited
    with pytest.raises(DataChannelError, match="the other side closed the connection"):
        far.receive(size)


def test_what_was_not_encrypted_is_not_taken(pair):
    near, far = pair
    near._socket.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(DataChannelError, match=r"(?i)decryption failed|bad record mac"):
        far.receive(1)


def test_a_connection_knows_when_its_peer_counts_no_more(streams):
    def refuse():
        raise UntrustedPeerError("it was revoked")

    near, _ = streams
    connection_of(near, DEADLINE).require_trust()
    near.require_trust = refuse
    with pytest.raises(UntrustedPeerError, match="revoked"):
        connection_of(near, DEADLINE).require_trust()


def test_who_is_not_trusted_is_told_why(identities, sockets, background, tmp_path):
    make_identities({"berlin": tmp_path / "elsewhere"})
    accepted = background(accept, sockets[1], Identity(tmp_path / "elsewhere"), DEADLINE)
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(sockets[0], identities[0], "", DEADLINE)
    with pytest.raises(ssl.SSLError, match=r"(?i)alert unknown ca"):
        accepted.result(DEADLINE)


def test_the_handshake_ends_in_time(identities, sockets):
    with pytest.raises(TimeoutError):
        SecureStream(sockets[0], identities[0].client_context, server_side=False, seconds=0.05)


def test_a_handshake_ends_with_the_connection(identities, sockets):
    sockets[1].close()
    with pytest.raises(OSError, match=r"(?i)eof|reset"):
        connect(sockets[0], identities[0], "", DEADLINE)

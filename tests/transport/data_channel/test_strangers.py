"""Who does not belong on a data channel, and what does not."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace

import pytest

from swarm.errors import AddressError
from swarm.messages import DataChannelRequest, StreamHeader
from swarm.records import Attempt
from swarm.testing.nodes import DEADLINE, eventually
from swarm.transport.data_channel import DataChannelTransport, listener, reception
from swarm.transport.data_channel.headers import MAGIC, PREAMBLE, VERSION, WELCOME, Part, StreamStatus, frame_header
from swarm.transport.grpc import GrpcTransport

pytestmark = [
    # A socket that is left to the garbage collector.
    pytest.mark.filterwarnings("error::ResourceWarning"),
    pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning"),
]

HEADER = StreamHeader("session", "sender", "incarnation", "lineage", 1, Attempt(1, "sender"))


def answer(sock):
    """The byte that a connection is answered with; empty if it is closed."""
    try:
        return sock.recv(1)
    except ConnectionResetError:
        return b""


def is_closed(sock):
    return answer(sock) == b""


@pytest.mark.parametrize(
    "preamble",
    [
        PREAMBLE.pack(MAGIC, VERSION, bytes(32)),
        b"GET / HTTP/1.1\r\nHost: somewhere.example.org\r\n\r\n",
    ],
    ids=["no token", "another protocol"],
)
def test_who_shows_no_token_is_closed(node, preamble):
    with node().connected(preamble) as sock:
        assert is_closed(sock)


@pytest.mark.parametrize(("magic", "version"), [(b"SwarmXx\0", VERSION), (MAGIC, VERSION + 1)])
def test_a_token_does_not_help_whoever_speaks_another_protocol(node, magic, version):
    a = node()
    token = a.offered().token
    with a.connected(PREAMBLE.pack(magic, version, token)) as sock:
        assert is_closed(sock)


def test_a_token_is_good_once(node):
    a = node()
    preamble = PREAMBLE.pack(MAGIC, VERSION, a.offered().token)
    with a.connected(preamble) as first, a.connected(preamble) as second:
        assert sorted([answer(first), answer(second)]) == [b"", WELCOME], "threads: either may be first"


def test_one_that_shows_nothing_is_closed_in_time(node, monkeypatch):
    monkeypatch.setattr(listener, "AUTHENTICATION_SECONDS", 0.1)
    with node().connected(b"Swarm") as sock:
        assert is_closed(sock)


def test_strangers_are_bounded_and_do_not_keep_out_those_admitted(node, monkeypatch):
    monkeypatch.setattr(listener, "MAX_STRANGERS", 1)
    a, b = node(), node()
    b.sends(a, [1])
    with a.connected(b"") as first:
        eventually(lambda: a.transport._listener._strangers, "the first waits")
        with a.connected(b"") as second:
            assert is_closed(second)
        b.sends(a, [2])
        first.close()
    assert b.control.uploads == 0


def test_one_address_cannot_take_the_room_of_all_strangers(node, monkeypatch):
    monkeypatch.setattr(listener, "MAX_STRANGERS_OF_AN_ADDRESS", 1)
    a, b = node(), node()
    with a.connected(b"") as first:
        eventually(lambda: a.transport._listener._strangers, "the first waits")
        with a.connected(b"") as second:
            assert is_closed(second)
        port = a.transport._listener.port
        preamble = PREAMBLE.pack(MAGIC, VERSION, a.offered().token)
        with socket.create_connection(("127.0.0.1", port), DEADLINE, ("127.0.0.9", 0)) as elsewhere:
            elsewhere.sendall(preamble)
            assert elsewhere.recv(1) == WELCOME
        first.close()
    b.sends(a, [1])


def test_all_addresses_of_a_line_share_the_room_of_one_address(node, monkeypatch, caplog):
    monkeypatch.setattr(listener, "MAX_STRANGERS_OF_AN_ADDRESS", 1)
    accept, hosts = socket.socket.accept, iter(["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"])

    def from_elsewhere(listening):
        sock, place = accept(listening)
        return sock, (next(hosts), *place[1:])

    monkeypatch.setattr(socket.socket, "accept", from_elsewhere)
    a = node()
    with a.connected(b"") as first:
        eventually(lambda: a.transport._listener._strangers, "the first waits")
        with a.connected(b"") as second, a.connected(b"") as other:
            assert is_closed(second)
            assert "1 connections from 2001:db8::/64 have not shown their token yet" in caplog.text
            eventually(lambda: len(a.transport._listener._strangers) == 2, "the one of another line waits")
            other.close()
        first.close()


def test_a_connection_for_which_there_is_no_thread_does_not_end_the_listening(node, monkeypatch, caplog):
    start, failed = threading.Thread.start, []

    def fail_once(thread):
        if thread.name == "swarm-data-channel-receive" and not failed:
            failed.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    a, b = node(), node()
    monkeypatch.setattr(threading.Thread, "start", fail_once)
    with a.connected(b"") as sock:
        assert is_closed(sock)
    eventually(lambda: "is refused: can't start new thread" in caplog.text, "it is told")
    b.sends(a, [1])
    assert b.control.uploads == 0


def test_who_is_not_let_in_is_told_once_a_minute_for_each_address(node, caplog):
    a = node()
    for _ in range(3):
        with a.connected(PREAMBLE.pack(MAGIC, VERSION, bytes(32))) as sock:
            assert is_closed(sock)

    def told():
        return [text for text in caplog.messages if "data port" in text]

    eventually(told, "it is told")
    assert len(told()) == 1
    assert told()[0].startswith("a connection from 127.0.0.1 to the data port")
    a.clock.advance(60)
    with a.connected(PREAMBLE.pack(MAGIC, VERSION, bytes(32))) as sock:
        assert is_closed(sock)
    eventually(lambda: len(told()) == 2, "it is told another time")


def test_one_peer_cannot_take_the_data_channels_of_all(node, monkeypatch):
    monkeypatch.setattr(listener, "MAX_CHANNELS_OF_A_PEER", 1)
    a = node()
    with a.connected() as first:
        assert first.recv(1) == WELCOME
        with a.connected() as second:
            assert is_closed(second)
        request = DataChannelRequest("session", "another", "incarnation")
        offer = a.control.ask_data_channel(a.address, request, DEADLINE)
        with a.connected(PREAMBLE.pack(MAGIC, VERSION, offer.token)) as other:
            assert other.recv(1) == WELCOME


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 64,
        frame_header(Part.FRAME, 1) + b"x",
        frame_header(Part.STREAM, 2**31),
    ],
    ids=["garbage", "a frame without a header", "an endless header"],
)
def test_what_does_not_belong_on_a_data_channel_ends_it(node, data):
    with node().connected() as sock:
        assert sock.recv(1) == WELCOME
        sock.sendall(data)
        assert is_closed(sock)


def test_a_frame_beyond_the_limit_ends_the_data_channel_before_it_is_taken(node):
    a, b = node(), node()
    header = a.control.encode_header(HEADER)
    with b.connected() as sock:
        assert sock.recv(1) == WELCOME
        sock.sendall(frame_header(Part.STREAM, len(header)) + header + frame_header(Part.FRAME, 2**31))
        assert is_closed(sock)
    assert b.handler.streams == {1: []}


def test_an_end_is_empty(node):
    b = node()
    header = b.control.encode_header(HEADER)
    with b.connected() as sock:
        assert sock.recv(1) == WELCOME
        sock.sendall(frame_header(Part.STREAM, len(header)) + header + frame_header(Part.END, 1))
        assert is_closed(sock)


def test_data_channels_are_bounded(node, monkeypatch):
    monkeypatch.setattr(listener, "MAX_CHANNELS", 1)
    a = node()
    with a.connected() as first:
        assert first.recv(1) == WELCOME
        with a.connected() as second:
            assert is_closed(second)


def test_a_data_channel_carries_streams_of_its_holder_only(node):
    b = node()
    header = b.control.encode_header(replace(HEADER, sender="somebody else"))
    with b.connected() as sock:
        assert sock.recv(1) == WELCOME
        sock.sendall(frame_header(Part.STREAM, len(header)) + header + frame_header(Part.END))
        assert b"this data channel is sender's" in sock.recv(200)
    assert not b.handler.streams


def refused(node, sock):
    """Begin a stream that is refused."""
    header = node.control.encode_header(replace(HEADER, sender="somebody else"))
    assert sock.recv(1) == WELCOME
    sock.sendall(frame_header(Part.STREAM, len(header)) + header)
    assert sock.recv(3)[0] == StreamStatus.REFUSED


def test_a_refused_sender_that_does_not_stop_is_cut_off(node, monkeypatch):
    monkeypatch.setattr(reception, "DRAINED_BYTES", 1000)
    b = node()
    with b.connected() as sock:
        refused(b, sock)
        frames = (frame_header(Part.FRAME, 100) + bytes(100)) * 1_000_000
        sock.settimeout(DEADLINE)
        with pytest.raises(OSError, match="reset|pipe"):
            sock.sendall(frames)
    a = node()
    a.sends(b, [1])


def test_a_refused_sender_that_stops_in_time_may_go_on_with_another_stream(node, monkeypatch):
    monkeypatch.setattr(reception, "DRAINED_BYTES", 1000)
    b = node()
    with b.connected() as sock:
        refused(b, sock)
        sock.sendall((frame_header(Part.FRAME, 100) + bytes(100)) * 10 + frame_header(Part.END))
        header = b.control.encode_header(HEADER)
        sock.sendall(frame_header(Part.STREAM, len(header)) + header + frame_header(Part.FRAME, 2) + b"ok")
        sock.sendall(frame_header(Part.END))
        eventually(lambda: b.handler.streams == {1: [b"ok"]}, "the next stream is taken")


def test_a_port_in_use_is_told_and_leaves_no_data_channel_behind(node):
    a = node()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    second = DataChannelTransport(GrpcTransport(a.address), "127.0.0.1", port=port)
    with pytest.raises(AddressError, match="the port is in use"):
        second.start(a.handler)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), DEADLINE)


def test_a_data_port_in_use_is_named_with_what_to_do(node):
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        transport = DataChannelTransport(GrpcTransport(), "127.0.0.1", port=port)
        with pytest.raises(AddressError, match=f"cannot listen on port {port} of 127.0.0.1: .*another data_port"):
            transport.start(node().handler)

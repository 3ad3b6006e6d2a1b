"""A relay beside direct connections: which way each peer is reached, and what is said where there is none."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from swarm.clock import ManualClock
from swarm.errors import AddressError
from swarm.testing.nodes import Node, eventually
from swarm.transport.base import Way
from swarm.transport.data_channel import DataChannelTransport
from swarm.transport.grpc import GrpcTransport, relayed
from tests.transport.relays import LocalRelay, Switchboard


@pytest.fixture
def place():
    with ExitStack() as sockets:

        def place():
            """An address of this machine to which nobody can connect."""
            made = sockets.enter_context(socket.socket())
            made.bind(("127.0.0.1", 0))
            return f"127.0.0.1:{made.getsockname()[1]}"

        yield place


@pytest.fixture
def board():
    return Switchboard()


@pytest.fixture
def start(board):
    nodes = []

    def start(*, data_channel=False, relay=True, **options):
        transport = GrpcTransport(relay=LocalRelay(board) if relay else None, **options)
        nodes.append(Node(DataChannelTransport(transport, "127.0.0.1") if data_channel else transport))
        return nodes[-1]

    yield start
    for node in nodes:
        node.transport.close(0.0)


def heard(source, target, text="hello"):
    count = len(target.handler.texts)
    source.say(target.address, text)
    eventually(lambda: len(target.handler.texts) > count, "the message arrived")


def test_two_that_accept_no_connection_meet_over_the_relay(start, place, caplog):
    a, b = start(advertise=place()), start(advertise=place())
    for number in range(3):
        a.say(b.address, str(number))
    eventually(lambda: len(b.handler.texts) == 3, "the messages arrived")
    assert b.handler.texts == ["0", "1", "2"], "what was queued for the first attempt comes first"
    heard(b, a)
    assert a.transport.way(b.address) is b.transport.way(a.address) is Way.RELAY
    assert not a.handler.lost + b.handler.lost
    assert not caplog.messages


def test_whoever_can_be_reached_is_reached_directly(start, place, board):
    opened, shut, plain = start(), start(advertise=place()), start(relay=False)
    for one, other in ((shut, opened), (opened, shut), (shut, plain), (plain, shut), (opened, plain)):
        heard(one, other)
    assert shut.transport.way(opened.address) is shut.transport.way(plain.address) is Way.DIRECT
    assert opened.transport.way(shut.address) is plain.transport.way(shut.address) is Way.REVERSE
    assert opened.transport.way(plain.address) is Way.DIRECT
    assert not board.asked


def test_a_route_takes_the_place_of_the_relay(start, place):
    opened, shut = start(), start(advertise=place())
    heard(opened, shut)
    assert opened.transport.way(shut.address) is Way.RELAY
    heard(shut, opened)
    eventually(lambda: opened.transport.way(shut.address) is Way.REVERSE, "it is reached over its connection")
    heard(opened, shut)
    assert not opened.handler.lost + shut.handler.lost


def test_data_channels_go_over_the_relay_too(start, place, caplog):
    caplog.set_level("INFO", "swarm.transport")
    a = start(data_channel=True, advertise=place())
    b = start(data_channel=True, advertise=place())
    heard(a, b)
    assert a.upload(b.address, [[b"x"]]).wait() is None
    assert b.handler.streams[1] == [b"x"]
    assert f"weights to {b.address} travel over the data channel" in caplog.text


def test_without_a_data_port_weights_are_messages_over_the_relay(start, place, caplog):
    caplog.set_level("INFO", "swarm.transport")
    a, b = start(data_channel=True, advertise=place()), start(advertise=place())
    heard(a, b)
    assert a.upload(b.address, [[b"x"]]).wait() is None
    assert f"weights to {b.address} travel over gRPC streams: " in caplog.text


def test_who_is_not_on_the_relay_either_is_told_with_both_reasons_and_tried_directly_again(start, place, board):
    a, there = start(advertise=place()), place()
    for count in (1, 2):
        a.say(there, "hello")
        eventually(lambda count=count: len(a.handler.lost) == count, "the loss is told")
    for address, reason in a.handler.lost:
        assert address == there
        assert reason.startswith(f"{there} cannot be reached over the switchboard: ")
        assert f"; directly: {there} cannot be reached: " in reason
    assert a.transport.way(there) is None
    assert set(board.asked) == {there}


def test_a_reason_of_the_relay_is_told(start, place, board):
    a, there = start(advertise=place()), place()
    a.transport._relayed._relay.hint = "nobody listens there"
    a.say(there, "hello")
    eventually(lambda: a.handler.lost, "the loss is told")
    assert "over the switchboard: nobody listens there; directly" in a.handler.lost[0][1]


def test_a_peer_that_is_lost_while_the_relay_closes_is_told(start, place, board):
    a, b = start(advertise=place()), start(advertise=place())
    heard(a, b)
    board.closed = True
    b.transport.close(0.0)
    eventually(lambda: a.handler.lost, "the loss is told")
    assert a.handler.lost[0][0] == b.address


def test_a_peer_that_was_reached_over_the_relay_is_tried_directly_again_after_a_while(start, place):
    clock = ManualClock()
    a = start(advertise=place(), clock=clock)
    for later in (0.0, relayed.RETRY_SECONDS):
        b = start(advertise=place())
        heard(a, b)
        clock.advance(later)
        b.transport.close(0.0)
        eventually(lambda b=b: b.address in dict(a.handler.lost), "the loss is told")
        assert (a.transport.way(b.address) is Way.RELAY) is (later == 0.0)


def test_a_forgotten_peer_is_tried_directly(start, place):
    a, b = start(advertise=place()), start(advertise=place())
    heard(a, b)
    a.transport.forget(b.address)
    assert a.transport.way(b.address) is None


def test_a_relay_that_cannot_be_used_refuses_the_start(board):
    class Broken(LocalRelay):
        def start(self, address, host, port, data_port):
            raise AddressError("the hub cannot be used")

    transport = GrpcTransport(relay=Broken(board))
    with pytest.raises(AddressError, match="the hub cannot be used"):
        Node(transport)

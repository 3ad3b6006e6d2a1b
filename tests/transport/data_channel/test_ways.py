"""Which way a stream of weights takes: the data channel, or the control transport."""

from __future__ import annotations

import itertools
import socket

import pytest

from swarm.messages import DataChannelOffer
from swarm.testing.nodes import Node
from swarm.transport.data_channel.ways import RETRY_SECONDS
from swarm.transport.grpc import GrpcTransport

pytestmark = [
    # A socket that is left to the garbage collector.
    pytest.mark.filterwarnings("error::ResourceWarning"),
    pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning"),
]


def test_streams_follow_each_other_on_one_data_channel_which_is_told_once(node, told):
    a, b = node(), node()
    a.sends(b, range(1, 4))
    assert (a.control.asked, a.control.uploads) == (1, 0)
    assert told() == [f"weights to {b.address} travel over the data channel"]


def test_a_refused_stream_leaves_the_data_channel_to_the_next(node):
    a, b = node(), node()
    b.handler.refusal = "no such attempt"
    endless = ([bytes(2**20)] for _ in itertools.count())
    assert "no such attempt" in a.upload(b.address, endless).wait()
    b.handler.refusal = None
    a.sends(b, [2])
    assert (a.control.asked, a.control.uploads) == (1, 0)


def test_a_peer_without_data_channels_gets_grpc_streams_and_is_not_asked_each_time(node, told):
    a, b = node(), Node(GrpcTransport())
    a.sends(b, range(1, 4))
    assert (a.control.asked, a.control.uploads) == (1, 3)
    assert len(told()) == 1
    assert (
        f"weights to {b.address} travel over gRPC streams: {b.address} refused: it takes no data channel" in told()[0]
    )
    a.clock.advance(RETRY_SECONDS)
    a.sends(b, [4])
    assert a.control.asked == 2
    b.transport.close(0.0)


def test_a_closed_port_is_named_and_grpc_streams_are_used(node, told):
    a, b = node(), node()
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    b.control.offer = lambda offer: DataChannelOffer(port, offer.token)
    a.sends(b, [1, 2])
    (sentence,) = told()
    reason = f"connection refused; for more speed let its port {port} be reached (data_port sets it there)"
    assert sentence == f"weights to {b.address} travel over gRPC streams: {reason}"


def test_a_port_that_never_answers_costs_a_bounded_wait(node, told):
    a, b = node(failure_timeout=1.0), node()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        b.control.offer = lambda offer: DataChannelOffer(silent.getsockname()[1], offer.token)
        a.sends(b, [1])
    assert "gRPC streams: timed out" in told()[0]


@pytest.mark.parametrize("port", [-1, 0, 2**40])
def test_a_port_that_is_none_is_not_connected_to(node, port):
    a, b = node(), node()
    b.control.offer = lambda offer: DataChannelOffer(port, offer.token)
    a.sends(b, [1])
    assert a.control.uploads == 1


def test_a_token_that_is_not_taken_leads_to_grpc_streams(node):
    a, b = node(), node()
    b.control.offer = lambda offer: DataChannelOffer(offer.port, bytes(32))
    a.sends(b, [1])
    assert a.control.uploads == 1


def test_a_peer_that_cannot_be_reached_is_asked_again_at_once(node, told):
    a, b = node(), node()
    b.transport.close(0.0)
    for _ in range(2):
        assert b.address in a.upload(b.address, [[b"x"]]).wait()
    assert a.control.asked == 2
    assert told() == []  # which way its weights will travel is not known


def test_a_forgotten_address_is_asked_again(node):
    a, b = node(), node()
    b.control.offer = lambda offer: DataChannelOffer(0, offer.token)
    a.sends(b, [1])
    b.control.offer = None
    a.transport.forget(b.address)
    a.sends(b, [2, 3])
    a.transport.forget(b.address)
    a.sends(b, [4])
    assert (a.control.asked, a.control.uploads) == (3, 1)

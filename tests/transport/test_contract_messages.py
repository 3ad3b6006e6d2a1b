"""A broken transport is told in words which property it breaks, for which input, and what to do."""

from __future__ import annotations

import pytest

from swarm.testing.nodes import Node
from swarm.testing.transports import TransportContract
from swarm.transport.memory import MemoryNetwork, MemoryTransport


class Stammering(MemoryTransport):
    def send(self, address, envelope):
        super().send(address, envelope)
        super().send(address, envelope)


class Truncating(MemoryTransport):
    def upload(self, address, header, frames, done):
        return super().upload(address, header, (frame[:1] for frame in frames), done)


class Content(MemoryTransport):
    def upload(self, address, header, frames, done):
        return super().upload(address, header, frames, lambda _reason: done(None))


class Brief(MemoryTransport):
    def fetch(self, address, request, timeout):
        yield next(iter(super().fetch(address, request, timeout)))


@pytest.mark.parametrize(
    ("transport", "test", "property_"),
    [
        (Stammering, "messages_arrive_in_order", "once each, in the order"),
        (Truncating, "a_frame_arrives_joined", "The parts of a frame arrive joined"),
        (Content, "a_refused_stream_tells_why", "An upload that is refused fails"),
        (Brief, "fetch_yields_what_is_served", "yields the frames that are served"),
    ],
)
def test_a_broken_transport_hears_what_it_must_keep(
    transport: type[MemoryTransport], test: str, property_: str
) -> None:
    network, nodes = MemoryNetwork(), []

    def node() -> Node:
        nodes.append(Node(transport(network)))
        return nodes[-1]

    contract = type("Contract", (TransportContract,), {"make": lambda _self: transport(network)})()
    try:
        with pytest.raises(AssertionError) as caught:
            getattr(contract, f"test_{test}")(node)
    finally:
        for each in nodes:
            each.transport.close(0.0)
    assert property_ in str(caught.value)
    assert all(part in str(caught.value) for part in ("given: ", "got: ", "to do: "))

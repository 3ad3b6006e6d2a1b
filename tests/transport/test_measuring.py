"""What a peer is asked about the way to it: who may ask, how much, and what is made of the answers."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat

import grpc
import pytest

from swarm.addresses import Address
from swarm.clock import ManualClock
from swarm.errors import ExchangeError, SwarmError, TransportError, UnknownCallError
from swarm.identity import Identity
from swarm.identity.throwaway import make_identities
from swarm.messages import DataChannelOffer, DataChannelRequest, ReachAnswer, ReachDataRequest
from swarm.testing.nodes import DEADLINE, Node
from swarm.transport.data_channel import DataChannelTransport
from swarm.transport.grpc import GrpcTransport, measuring, routes
from swarm.transport.grpc.measuring import MOST_BYTES, TOLD, WANTED, measure
from swarm.transport.grpc.security import open_channel
from swarm.transport.grpc.service import MEASURE, REACH_DATA
from swarm.transport.grpc.wire import decode, encode
from swarm.transport.pacing import Pacing


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Calls of any size tell the speed."""
    monkeypatch.setattr(measuring, "LONG_ENOUGH", 0.0)


@pytest.fixture
def identities(tmp_path):
    names = ("sender", "paris", "rome")
    make_identities({name: tmp_path / name for name in names})
    return {name: Identity(tmp_path / name) for name in names}


@pytest.fixture
def start():
    nodes = []

    def start(*, data_channel=False, **options):
        transport = GrpcTransport(**options)
        nodes.append(Node(DataChannelTransport(transport, "127.0.0.1") if data_channel else transport))
        return nodes[-1]

    yield start
    for node in nodes:
        node.transport.close(0.0)


class Counting(Pacing):
    """Keeps how many bytes were let go."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def messages(self, messages):
        for message in messages:
            self.bytes += len(message)
            yield message


def test_both_ways_are_measured_and_paced_at_the_end_that_sends(start, identities, monkeypatch):
    monkeypatch.setattr(measuring, "LONG_ENOUGH", 1e9)
    monkeypatch.setattr(measuring, "MOST_BYTES", 2**20)
    here, there = Counting(), Counting()
    a = start(identity=identities["sender"], pacing=here)
    b = start(identity=identities["paris"], pacing=there)
    speeds = a.transport.asking.measure(b.address)
    assert speeds.sends > 0.0
    assert speeds.receives > 0.0
    sizes = (measuring.FIRST_BYTES, 4 * measuring.FIRST_BYTES)
    assert here.bytes == there.bytes == sum(sizes), "it stops before a call would be too large"


def test_a_call_that_takes_long_enough_is_the_last(start, identities):
    pacing = Counting()
    a, b = start(identity=identities["sender"], pacing=pacing), start(identity=identities["paris"])
    a.transport.asking.measure(b.address)
    assert pacing.bytes == measuring.FIRST_BYTES


def test_nothing_is_measured_with_strangers(start, identities, tmp_path):
    make_identities({"sender": tmp_path / "elsewhere"})
    a, b = start(identity=Identity(tmp_path / "elsewhere")), start(identity=identities["paris"])
    with pytest.raises(SwarmError):
        a.transport.asking.measure(b.address)
    with pytest.raises(ExchangeError, match="it measures with members of a consortium only"):
        start().transport.asking.measure(start().address)


def test_one_is_measured_at_a_time(start, identities, monkeypatch):
    a, b = start(identity=identities["sender"]), start(identity=identities["paris"])
    done, taken = threading.Event(), threading.Event()
    account = measuring.Measuring._account
    monkeypatch.setattr(measuring.Measuring, "_account", lambda *given: (taken.set(), account(*given))[1])
    with open_channel(Address.parse(b.address), 5.0, identities["rome"]) as channel:
        call = channel.stream_stream(MEASURE, None, None)(messages_until(done))
        assert taken.wait(DEADLINE)
        monkeypatch.setattr(measuring, "PATIENCE", 0.05)
        with pytest.raises(TransportError, match="it measures with others; ask again later"):
            a.transport.asking.measure(b.address)
        done.set()
        assert len(list(call)) == 1
    assert a.transport.asking.measure(b.address).sends > 0.0


def messages_until(done):
    yield WANTED.pack(0)
    done.wait(DEADLINE)


def test_one_that_takes_too_long_is_ended(start, identities, monkeypatch):
    monkeypatch.setattr(measuring, "PATIENCE", 0.2)
    a, b = start(identity=identities["sender"]), start(identity=identities["paris"])
    done = threading.Event()
    with open_channel(Address.parse(b.address), 5.0, identities["rome"]) as channel:
        with pytest.raises(grpc.RpcError):
            list(channel.stream_stream(MEASURE, None, None)(messages_until(done)))
        done.set()
    monkeypatch.setattr(measuring, "PATIENCE", DEADLINE)
    assert a.transport.asking.measure(b.address).sends > 0.0


def test_a_member_has_so_much_measured_in_an_hour(start, identities, monkeypatch):
    monkeypatch.setattr(measuring, "MOST_OF_A_MEMBER", 3 * measuring.FIRST_BYTES)
    clock = ManualClock()
    b = start(identity=identities["paris"], clock=clock)
    a, other = start(identity=identities["sender"]), start(identity=identities["rome"])
    a.transport.asking.measure(b.address)
    with pytest.raises(TransportError, match="sender has had 0 MiB measured within an hour"):
        a.transport.asking.measure(b.address)
    other.transport.asking.measure(b.address)
    clock.advance(routes.MEMORY_SECONDS)
    a.transport.asking.measure(b.address)


@pytest.mark.parametrize(
    ("messages", "code", "text"),
    [
        ([], grpc.StatusCode.FAILED_PRECONDITION, "begins with a number of bytes"),
        ([b"x"], grpc.StatusCode.FAILED_PRECONDITION, "begins with a number of bytes"),
        ([WANTED.pack(MOST_BYTES + 1)], grpc.StatusCode.RESOURCE_EXHAUSTED, f"of {MOST_BYTES} bytes at most"),
        ([WANTED.pack(MOST_BYTES), b"x"], grpc.StatusCode.RESOURCE_EXHAUSTED, f"of {MOST_BYTES} bytes at most"),
    ],
)
def test_what_asks_for_too_much_or_is_no_question_is_refused(start, identities, messages, code, text):
    b = start(identity=identities["paris"])
    with (
        open_channel(Address.parse(b.address), 5.0, identities["rome"]) as channel,
        pytest.raises(grpc.RpcError) as refused,
    ):
        list(channel.stream_stream(MEASURE, None, None)(iter(messages)))
    assert refused.value.code() is code
    assert text in refused.value.details()


@pytest.fixture
def served():
    """Makes a channel to a server that answers a measurement with what ``answer`` gives."""
    servers = []

    def serve(answer):
        handlers = {"Measure": grpc.stream_stream_rpc_method_handler(answer)} if answer else {}
        server = grpc.server(ThreadPoolExecutor(2))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(MEASURE.split("/")[1], handlers),))
        servers.append(server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        return grpc.insecure_channel(f"127.0.0.1:{port}")

    yield serve
    for server in servers:
        server.stop(0).wait(DEADLINE)


def told(requests):
    return TOLD.pack(sum(map(len, requests)) - WANTED.size, 1)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda _r, _c: iter([b"x"]), "does not answer as one that measures"),
        (lambda _r, _c: iter([TOLD.pack(7, 1)]), "says that 7 bytes came"),
        (lambda r, _c: iter([told(r), b"x"]), "has sent 1 bytes or more"),
        (lambda r, _c: chain([told(r)], repeat(bytes(2**20))), "has sent 1048576 bytes or more"),
    ],
)
def test_what_no_peer_answers_is_no_speed(served, answer, text):
    with pytest.raises(ExchangeError, match=text):
        measure(served(answer), Pacing(), "there")


def test_a_time_that_a_peer_invents_is_not_believed(served):
    def answer(requests, _context):
        (wanted,) = WANTED.unpack(next(requests))
        yield TOLD.pack(sum(map(len, requests)), 2**63)
        yield from measuring._parts(wanted)

    assert measure(served(answer), Pacing(), "there").sends > 0.01


def test_an_earlier_release_does_not_know_it(served):
    with pytest.raises(UnknownCallError):
        measure(served(None), Pacing(), "there")


HOLDER = DataChannelRequest("session", "paris", "incarnation")


def test_a_peer_says_whether_it_can_open_a_data_channel(start, identities):
    a = start(identity=identities["sender"], data_channel=True)
    b = start(identity=identities["paris"], data_channel=True)
    a.transport.reach(b.address, DataChannelRequest("session", "sender", "incarnation"))
    assert a.transport.control.asking.data_port_reached_from(b.address, a.transport.issue(HOLDER), DEADLINE) == ""
    with socket.socket() as shut:
        shut.bind(("127.0.0.1", 0))
        offer = DataChannelOffer(shut.getsockname()[1], bytes(32))
        reason = a.transport.control.asking.data_port_reached_from(b.address, offer, DEADLINE)
    assert reason.startswith("connection refused")
    wrong = DataChannelOffer(a.transport.issue(HOLDER).port, bytes(32))
    assert a.transport.control.asking.data_port_reached_from(b.address, wrong, DEADLINE)


def test_a_peer_without_data_channels_says_so(start, identities):
    a, b = start(identity=identities["sender"], data_channel=True), start(identity=identities["paris"])
    with pytest.raises(ExchangeError, match="it takes no data channel"):
        a.transport.control.asking.data_port_reached_from(b.address, a.transport.issue(HOLDER), DEADLINE)


def test_a_peer_cannot_ask_which_ports_another_can_connect_to(start, identities):
    a = start(identity=identities["sender"], data_channel=True)
    with open_channel(Address.parse(a.address), 5.0, identities["paris"]) as channel:

        def reach(port, name="paris"):
            asked = encode(ReachDataRequest(f"{name}@127.0.0.1:9", DataChannelOffer(port, bytes(32))))
            return decode(ReachAnswer, channel.unary_unary(REACH_DATA, None, None)(asked, timeout=DEADLINE))

        for port in range(1, routes.MOST_OF_A_PEER + 1):
            assert reach(port).reason
        for asked, code in (
            (lambda: reach(99), grpc.StatusCode.RESOURCE_EXHAUSTED),
            (lambda: reach(1, "rome"), grpc.StatusCode.PERMISSION_DENIED),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                asked()
            assert refused.value.code() is code

"""What one caller may use at a time, and what the log tells of those who want more."""

from __future__ import annotations

import resource
import socket
import threading
from contextlib import ExitStack

import grpc
import pytest

from swarm.addresses import Address
from swarm.clock import ManualClock
from swarm.errors import LimitError, TransportError
from swarm.messages import StreamHeader
from swarm.records import Attempt
from swarm.testing.nodes import DEADLINE, Node, RecordingSink, eventually, settled
from swarm.transport import descriptors
from swarm.transport.grpc import GrpcTransport, admission, fetch_status, options
from swarm.transport.grpc.quotas import OF_A_PEER, OF_AN_ADDRESS, QUIET_SECONDS, CallLimits
from swarm.transport.grpc.security import HEADER_KEY, Caller, ConnectedCaller
from swarm.transport.grpc.service import MAX_CALLS, UPLOAD
from swarm.transport.grpc.wire import encode
from swarm.transport.notices import MAX_CALLERS, PAUSE_SECONDS, Notices

HEADER = encode(StreamHeader("session", "sender", "incarnation", "lineage", 1, Attempt(1, "sender")))


@pytest.fixture
def node():
    nodes = []

    def make(**given):
        nodes.append(Node(GrpcTransport(**given)))
        return nodes[-1]

    yield make
    for each in nodes:
        each.transport.close(0.0)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def limits(clock):
    return CallLimits({"Upload": 2, "Fetch": 1}, clock)


def test_a_caller_has_so_many_calls_of_a_method(limits):
    with limits.admitted("paris", "Upload", pytest.fail), limits.admitted("paris", "Upload", pytest.fail):
        with pytest.raises(LimitError, match="paris has 2 Upload calls open"):
            limits.admitted("paris", "Upload", pytest.fail).__enter__()
        with limits.admitted("rome", "Upload", pytest.fail), limits.admitted("paris", "Fetch", pytest.fail):
            pass
    with limits.admitted("paris", "Upload", pytest.fail):
        pass


def test_a_stream_that_sends_nothing_for_long_gives_way(limits, clock):
    ended = []
    with ExitStack() as calls:
        first, _ = (
            calls.enter_context(limits.admitted("paris", "Upload", lambda name=name: ended.append(name)))
            for name in ("first", "second")
        )
        clock.advance(QUIET_SECONDS)
        first.sends()
        calls.enter_context(limits.admitted("paris", "Upload", pytest.fail))
        assert ended == ["second"]
        with pytest.raises(LimitError):
            limits.admitted("paris", "Upload", pytest.fail).__enter__()


def test_one_address_cannot_have_all_calls():
    assert sum(OF_AN_ADDRESS.values()) < MAX_CALLS
    assert OF_A_PEER.keys() == OF_AN_ADDRESS.keys()


def test_an_idle_upload_is_ended_where_its_caller_begins_another(node, monkeypatch, clock):
    monkeypatch.setitem(admission.OF_AN_ADDRESS, "Upload", 1)
    b, done = node(clock=clock), threading.Event()

    def nothing():
        done.wait(DEADLINE)
        yield from ()

    with grpc.insecure_channel(b.address) as channel:
        idle = upload(channel, nothing())
        eventually(lambda: b.handler.streams, "the idle stream is there")
        clock.advance(QUIET_SECONDS)
        assert upload(channel, iter(())).code() is grpc.StatusCode.OK
        assert idle.code() is grpc.StatusCode.CANCELLED
        done.set()


class Blocked(RecordingSink):
    """Takes nothing until it is let go."""

    def __init__(self):
        super().__init__()
        self.go = threading.Event()

    def begin(self, head, size):
        self.go.wait(DEADLINE)
        return super().begin(head, size)


def upload(channel, messages):
    return channel.stream_unary(UPLOAD, None, None).future(messages, metadata=((HEADER_KEY, HEADER),))


def test_a_call_over_the_limit_is_refused_and_told_once(node, monkeypatch, caplog):
    monkeypatch.setitem(admission.OF_AN_ADDRESS, "Upload", 1)
    b, done = node(), threading.Event()

    def nothing():
        done.wait(DEADLINE)
        yield from ()

    with grpc.insecure_channel(b.address) as channel:
        first = upload(channel, nothing())
        eventually(lambda: b.handler.streams, "the first stream is there")
        for _ in range(2):
            more = upload(channel, iter(()))
            assert more.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "127.0.0.1 has 1 Upload calls open already" in more.details()
        assert fetch_status(b.address, DEADLINE)
        done.set()
        assert first.code() is grpc.StatusCode.OK
        assert upload(channel, iter(())).code() is grpc.StatusCode.OK
    assert len([text for text in caplog.messages if "is refused" in text]) == 1


def test_streams_that_are_not_read_take_little_memory(node):
    b, sent, sink, streams = node(), [], Blocked(), 16
    b.handler.sink = sink
    message = (2**19 - 4).to_bytes(4, "little") + bytes(2**19 - 4)

    def messages():
        for _ in range(100):
            sent.append(len(message))
            yield message

    with grpc.insecure_channel(b.address) as channel:
        calls = [upload(channel, messages()) for _ in range(streams)]
        eventually(lambda: sent, "they begin")
        assert settled(lambda: sum(sent)) <= streams * (options.LOOKAHEAD_OF_ANYBODY + 2**21)
        for call in calls:
            call.cancel()
        sink.go.set()


def test_connections_are_bounded_and_leave_those_that_are_there_alone(node, monkeypatch):
    monkeypatch.setattr(options, "MAX_CONNECTIONS", 4)
    a, b = node(), node()
    a.say(b.address, "before")
    eventually(lambda: b.handler.texts, "the message arrives")
    host, port = b.address.split(":")
    with ExitStack() as idle:
        socks = [idle.enter_context(socket.create_connection((host, port), DEADLINE)) for _ in range(8)]
        eventually(lambda: sum(map(is_closed, socks)) >= 5, "those over the limit are closed")
        a.say(b.address, "during")
        eventually(lambda: len(b.handler.texts) == 2, "the message arrives")

    def answers():
        try:
            return fetch_status(b.address, 1.0)
        except TransportError:
            return None

    eventually(answers, "there is room for others")


def is_closed(sock):
    sock.setblocking(False)
    try:
        while data := sock.recv(4096):
            assert data
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def test_a_port_leaves_descriptors_to_the_rest_of_the_process(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    assert descriptors.share(1000) == 256
    assert descriptors.share(100) == 100
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert descriptors.share(1000) == 1000


def test_a_caller_without_a_certificate_is_all_addresses_of_its_line():
    class Call:
        def __init__(self, place):
            self.peer = lambda: place

    assert Caller(Call("ipv6:%5B2001:db8::1%5D:4711"), None).name == "2001:db8::/64"
    assert Caller(Call("ipv6:%5B::ffff:10.0.0.9%5D:4711"), None).name == "10.0.0.9"
    assert ConnectedCaller(Address.parse("[2001:db8::2]:7700"), None).name == "2001:db8::/64"


def test_all_addresses_of_a_line_are_one_caller_in_the_log(clock, caplog):
    notices = Notices(clock)
    for host in ("2001:db8::1", "2001:db8::2", "::ffff:10.0.0.9", "10.0.0.9", "2001:db8:0:1::1"):
        notices.warn(host, host)
    assert caplog.messages == ["2001:db8::1", "::ffff:10.0.0.9", "2001:db8:0:1::1"]


def test_there_are_few_lines_about_callers(clock, caplog):
    notices = Notices(clock)
    for number in range(3 * MAX_CALLERS):
        notices.warn(str(number % (2 * MAX_CALLERS)), f"caller {number}")
    assert len(caplog.messages) == MAX_CALLERS
    clock.advance(PAUSE_SECONDS)
    notices.warn("0", "caller 0 came back")
    assert caplog.messages[-1] == "caller 0 came back"

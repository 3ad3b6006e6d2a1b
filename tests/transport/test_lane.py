from __future__ import annotations

import array
import itertools
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from swarm.clock import ManualClock
from swarm.errors import ExchangeError
from swarm.messages import LaneOffer, LaneRequest, StreamHeader
from swarm.records import Attempt
from swarm.testing.nodes import DEADLINE, Node, eventually, settled
from swarm.transport.base import HEAD_BYTES, PlacingSink
from swarm.transport.grpc import GrpcTransport
from swarm.transport.lane import LaneTransport, acceptor
from swarm.transport.lane.connection import Connection, LaneBroken
from swarm.transport.lane.marks import MAGIC, PREAMBLE, VERSION, WELCOME, Mark, mark
from swarm.transport.lane.tickets import LIFETIME, MAX_OUTSTANDING, Tickets
from swarm.transport.lane.upload import LaneUpload
from swarm.transport.lane.ways import RETRY_SECONDS

MIB = 2**20
ME = LaneRequest("session", "sender", "incarnation")
SCRIPT = Path(__file__).with_name("peer_process.py")


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


def rounds(source, target, numbers):
    """Send one small stream after the other."""
    for number in numbers:
        assert source.upload(target.address, [[b"round ", b"%d" % number]], number=number).wait() is None
        assert target.handler.streams[number] == [b"round %d" % number]


@contextmanager
def knock(target, preamble=None):
    """A connection to the lane of ``target``, with a ticket unless another preamble is given."""
    offer = target.control.ask_lane(target.address, ME, DEADLINE)
    with socket.create_connection(("127.0.0.1", offer.port), DEADLINE) as sock:
        sock.sendall(PREAMBLE.pack(MAGIC, VERSION, offer.ticket) if preamble is None else preamble)
        yield sock


def is_closed(sock):
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


# Which way ------------------------------------------------------------------------------------------------------------


def test_streams_follow_each_other_on_one_lane_which_is_told_once(node, told):
    a, b = node(), node()
    rounds(a, b, range(1, 4))
    assert (a.control.asked, a.control.uploads) == (1, 0)
    assert told() == [f"weights to {b.address} travel over the bulk lane"]


def test_a_refused_stream_leaves_the_lane_to_the_next(node):
    a, b = node(), node()
    b.handler.refusal = "no such attempt"
    endless = ([bytes(MIB)] for _ in itertools.count())
    assert "no such attempt" in a.upload(b.address, endless).wait()
    b.handler.refusal = None
    rounds(a, b, [2])
    assert (a.control.asked, a.control.uploads) == (1, 0)


def test_a_peer_without_lanes_gets_grpc_streams_and_is_not_asked_each_time(node, told):
    a, b = node(), Node(GrpcTransport())
    rounds(a, b, range(1, 4))
    assert (a.control.asked, a.control.uploads) == (1, 3)
    assert len(told()) == 1
    assert f"weights to {b.address} travel over gRPC streams: {b.address} refused: it takes no bulk lane" in told()[0]
    a.clock.advance(RETRY_SECONDS)
    rounds(a, b, [4])
    assert a.control.asked == 2
    b.transport.close(0.0)


def test_a_closed_port_is_named_and_grpc_streams_are_used(node, told):
    a, b = node(), node()
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    b.control.offer = lambda offer: LaneOffer(port, offer.ticket)
    rounds(a, b, [1, 2])
    (sentence,) = told()
    assert "gRPC streams: connection refused" in sentence
    assert f"port {port}" in sentence
    assert "lane_port" in sentence


def test_a_port_that_never_answers_costs_a_bounded_wait(node, told):
    a, b = node(failure_timeout=1.0), node()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        b.control.offer = lambda offer: LaneOffer(silent.getsockname()[1], offer.ticket)
        rounds(a, b, [1])
    assert "gRPC streams: timed out" in told()[0]


@pytest.mark.parametrize("port", [-1, 0, 2**40])
def test_a_port_that_is_none_is_not_connected_to(node, port):
    a, b = node(), node()
    b.control.offer = lambda offer: LaneOffer(port, offer.ticket)
    rounds(a, b, [1])
    assert a.control.uploads == 1


def test_a_ticket_that_is_not_taken_leads_to_grpc_streams(node):
    a, b = node(), node()
    b.control.offer = lambda offer: LaneOffer(offer.port, bytes(32))
    rounds(a, b, [1])
    assert a.control.uploads == 1


def test_a_peer_that_cannot_be_reached_is_asked_again_at_once(node):
    a, b = node(), node()
    b.transport.close(0.0)
    for _ in range(2):
        assert b.address in a.upload(b.address, [[b"x"]]).wait()
    assert a.control.asked == 2


def test_a_forgotten_address_is_asked_again(node):
    a, b = node(), node()
    b.control.offer = lambda offer: LaneOffer(0, offer.ticket)
    rounds(a, b, [1])
    b.control.offer = None
    a.transport.forget(b.address)
    rounds(a, b, [2, 3])
    a.transport.forget(b.address)
    rounds(a, b, [4])
    assert (a.control.asked, a.control.uploads) == (3, 1)


# Breaking -------------------------------------------------------------------------------------------------------------


def test_a_lane_that_breaks_fails_its_stream_and_the_next_gets_a_new_one(node):
    a, b = node(), node()
    released = threading.Event()
    b.handler.on_frame = lambda _header, _data: released.wait(2 * DEADLINE) and None
    made = []

    def frames():
        for number in range(256):
            made.append(number)
            yield [bytes(MIB)]

    outcome = a.upload(b.address, frames())
    eventually(lambda: 1 in b.handler.streams, "the stream is open")
    assert settled(lambda: len(made)) < 256, "the sender waits"
    for connection in tuple(b.transport._acceptor._connections):
        connection.break_()
    assert "lane" in outcome.wait()
    released.set()
    rounds(a, b, [2])
    assert a.control.uploads == 0


def test_a_lane_that_ended_between_rounds_is_replaced_unnoticed(node):
    a, b = node(), node()
    rounds(a, b, [1])
    for connection in tuple(b.transport._acceptor._connections):
        connection.break_()
    eventually(lambda: not b.transport._acceptor._connections, "the other end is closed")
    rounds(a, b, [2])
    assert (a.control.asked, a.control.uploads) == (2, 0)


def test_a_lost_peer_takes_its_streams_with_it(node):
    a, b = node(), node()
    a.say(b.address, "hello")
    released = threading.Event()
    b.handler.on_frame = lambda _header, _data: released.wait(2 * DEADLINE) and None
    outcome = a.upload(b.address, ([bytes(MIB)] for _ in range(256)))
    eventually(lambda: 1 in b.handler.streams, "the stream is open")
    b.control.close(0.0)  # its lanes stay
    assert outcome.wait()
    released.set()


def test_what_is_cancelled_is_read_from_memory_no_more(node):
    a, b = node(), node()
    memory = bytearray(MIB)
    seen = []
    blocked, began = threading.Event(), threading.Event()

    def on_frame(_header, data):
        seen.append(any(data))
        began.set()
        blocked.wait(DEADLINE)

    b.handler.on_frame = on_frame
    outcome = a.upload(b.address, ([memory] for _ in itertools.count()))
    assert began.wait(DEADLINE)
    outcome.upload.cancel()
    memory[:] = b"\x01" * MIB
    blocked.set()
    b.handler.on_frame = lambda _header, _data: None
    rounds(a, b, [2])
    eventually(lambda: len(b.transport._acceptor._connections) == 1, "the cancelled lane ended")
    assert not any(seen)
    assert not any(any(frame) for frame in b.handler.streams[1])
    assert not outcome.reasons


def test_cancelling_waits_for_the_memory_that_is_being_sent(node):
    class Sending:
        """A connection that is in the middle of a frame."""

        def __init__(self):
            self.reached, self.released, self.broken = threading.Event(), threading.Event(), threading.Event()

        def send(self, buffers):
            if memory in buffers:
                self.reached.set()
                self.released.wait(DEADLINE)
            if self.broken.is_set():
                raise LaneBroken("the connection was closed")

        def break_(self):
            self.broken.set()

        readable = staticmethod(lambda: False)
        away = staticmethod(nullcontext)

    memory, connection = bytearray(b"weights"), Sending()
    upload = LaneUpload(node().control, "address", stream_header(), itertools.repeat([memory]), lambda _: None)
    threading.Thread(target=upload.carry, args=(connection,), daemon=True).start()
    assert connection.reached.wait(DEADLINE)
    cancelled = threading.Thread(target=upload.cancel, daemon=True)
    cancelled.start()
    cancelled.join(0.1)
    assert cancelled.is_alive()
    connection.released.set()
    cancelled.join(DEADLINE)
    assert not cancelled.is_alive()


def test_closing_ends_the_threads(node):
    a, b = node(), node()
    rounds(a, b, [1])
    a.transport.close(0.0)
    b.transport.close(0.0)
    eventually(lambda: not [each for each in threading.enumerate() if "swarm-lane" in each.name], "they ended")


def test_a_killed_peer_fails_a_stream_at_once_though_its_forked_child_lives(node):
    a = node(failure_timeout=60.0)
    with subprocess.Popen(
        [sys.executable, SCRIPT, "fork"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        address = process.stdout.readline().strip()
        assert a.upload(address, [[b"one"]]).wait() is None  # so the child inherits the lane
        process.stdin.write("\n")
        process.stdin.flush()
        child = int(process.stdout.readline())
        stall = threading.Event()

        def frames():
            yield [b"two"]
            stall.wait(DEADLINE)
            yield from ([bytes(MIB)] for _ in range(256))

        outcome = a.upload(address, frames(), number=2)
        process.kill()
        process.wait()
        stall.set()
        reason = outcome.wait()
        subprocess.run(["kill", "-KILL", str(child)], check=True)  # it lived
    assert a.control.uploads == 0
    assert "lane" in reason


# What travels ---------------------------------------------------------------------------------------------------------


def test_any_buffers_arrive_as_one_frame(node):
    a, b = node(), node()
    numbers = memoryview(array.array("f", range(1000)))
    many = [b"%d," % number for number in range(500)]
    large = [bytes([number]) * (2 * MIB - 7) for number in range(4)]
    assert a.upload(b.address, [[b"head", numbers], many, large, [], [b"", b""]]).wait() is None
    expected = [b"head" + numbers.tobytes(), b"".join(many), b"".join(large), b"", b""]
    assert b.handler.streams == {1: expected}


def test_a_socket_that_takes_little_at_a_time_gets_everything_in_order():
    class Stingy(socket.socket):
        def sendmsg(self, buffers):
            return super().send(b"".join(buffers)[:3])

    with socket.create_server(("127.0.0.1", 0)) as server, Stingy() as one:
        one.connect(server.getsockname())
        other, _ = server.accept()
        source, target = Connection(one, 10.0), Connection(other, 10.0)
        source.send([b"a", b"bcdefgh", b"", b"ij", b"k"])
        assert target.receive(11) == b"abcdefghijk"
        source.close()
        target.close()


# Strangers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "preamble",
    [
        PREAMBLE.pack(MAGIC, VERSION, bytes(32)),
        b"GET / HTTP/1.1\r\nHost: somewhere.example.org\r\n\r\n",
    ],
    ids=["no ticket", "another protocol"],
)
def test_who_shows_no_ticket_is_shown_the_door(node, preamble):
    with knock(node(), preamble) as sock:
        assert is_closed(sock)


@pytest.mark.parametrize(("magic", "version"), [(b"SwarmXx\0", VERSION), (MAGIC, VERSION + 1)])
def test_a_ticket_does_not_help_whoever_speaks_another_protocol(node, magic, version):
    a = node()
    ticket = a.control.ask_lane(a.address, ME, DEADLINE).ticket
    with knock(a, PREAMBLE.pack(magic, version, ticket)) as sock:
        assert is_closed(sock)


def test_a_ticket_is_good_once(node):
    a = node()
    preamble = PREAMBLE.pack(MAGIC, VERSION, a.control.ask_lane(a.address, ME, DEADLINE).ticket)
    with knock(a, preamble) as first, knock(a, preamble) as second:
        assert first.recv(1) == WELCOME
        assert is_closed(second)


def test_one_that_shows_nothing_is_closed_in_time(node, monkeypatch):
    monkeypatch.setattr(acceptor, "AUTHENTICATION_SECONDS", 0.1)
    with knock(node(), b"Swarm") as sock:
        assert is_closed(sock)


def test_strangers_are_bounded_and_do_not_keep_out_those_admitted(node, monkeypatch):
    monkeypatch.setattr(acceptor, "MAX_STRANGERS", 1)
    a, b = node(), node()
    rounds(b, a, [1])
    with knock(a, b"") as first:
        eventually(lambda: a.transport._acceptor._strangers, "the first waits")
        with knock(a, b"") as second:
            assert is_closed(second)
        rounds(b, a, [2])
        first.close()
    assert b.control.uploads == 0


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 64,
        mark(Mark.FRAME, 1) + b"x",
        mark(Mark.HEADER, 2**31),
    ],
    ids=["garbage", "a frame without a header", "an endless header"],
)
def test_what_does_not_belong_on_a_lane_ends_it(node, data):
    with knock(node()) as sock:
        assert sock.recv(1) == WELCOME
        sock.sendall(data)
        assert is_closed(sock)


def test_a_frame_beyond_the_limit_ends_the_lane_before_it_is_taken(node):
    a, b = node(), node()
    header = a.control.encode_header(stream_header())
    with knock(b) as sock:
        assert sock.recv(1) == WELCOME
        sock.sendall(mark(Mark.HEADER, len(header)) + header + mark(Mark.FRAME, 2**31))
        assert is_closed(sock)
    assert b.handler.streams == {1: []}


def test_a_lane_carries_streams_of_its_holder_only(node):
    b = node()
    header = b.control.encode_header(stream_header(sender="somebody else"))
    with knock(b) as sock:
        assert sock.recv(1) == WELCOME
        sock.sendall(mark(Mark.HEADER, len(header)) + header + mark(Mark.END))
        assert b"this lane is sender's" in sock.recv(200)
    assert not b.handler.streams


def stream_header(**changes):
    return replace(StreamHeader("session", "sender", "incarnation", "lineage", 1, Attempt(1, "sender")), **changes)


def test_tickets_expire():
    clock = ManualClock()
    tickets = Tickets(clock)
    secret = tickets.issue(ME)
    clock.advance(LIFETIME)
    assert tickets.redeem(secret) is None


def test_tickets_are_bounded_until_they_expire():
    clock = ManualClock()
    tickets = Tickets(clock)
    secrets = [tickets.issue(ME) for _ in range(MAX_OUTSTANDING)]
    assert len(set(secrets)) == MAX_OUTSTANDING
    with pytest.raises(ExchangeError, match=str(MAX_OUTSTANDING)):
        tickets.issue(ME)
    assert tickets.redeem(secrets[7]) == ME
    assert tickets.redeem(secrets[7]) is None
    tickets.issue(ME)
    clock.advance(LIFETIME)
    tickets.issue(ME)


# Memory of the sink --------------------------------------------------------------------------------------------------


class Placing(PlacingSink):
    """Gives a place to frames whose first byte is ``P``, refuses those with ``R``, and takes the others whole."""

    def __init__(self):
        self.place_for = bytearray(MIB)
        self.size = 0
        self.taken = []

    def __call__(self, frame):
        self.taken.append(bytes(frame))

    def place(self, head, size):
        assert len(head) == HEAD_BYTES
        if head[:1] == b"R":
            raise ExchangeError("no room")
        self.size = size
        return memoryview(self.place_for)[:size] if head[:1] == b"P" else None

    def placed(self):
        self.taken.append(bytes(self.place_for[: self.size]))


def test_a_sink_may_have_the_rest_of_a_frame_received_into_its_own_memory(node):
    a, b, sink = node(), node(), Placing()
    b.handler.open_sink = lambda _header: sink
    long = bytes(range(256)) * 3000
    frames = [[b"P" * HEAD_BYTES, long], [b"W" * HEAD_BYTES, long], [b"tiny"], [b"H" * HEAD_BYTES], [b"P" * 16, b"x"]]
    assert a.upload(b.address, frames).wait() is None
    assert sink.taken == [long, b"W" * HEAD_BYTES + long, b"tiny", b"H" * HEAD_BYTES, b"x"]


def test_a_sink_that_refuses_a_place_ends_the_stream_and_not_the_lane(node):
    a, b, sink = node(), node(), Placing()
    b.handler.open_sink = lambda _header: sink
    assert "no room" in a.upload(b.address, [[b"P" * 16, b"one"], [b"R" * 16, bytes(MIB)], [b"P" * 16, b"two"]]).wait()
    assert a.upload(b.address, [[b"P" * 16, b"three"]]).wait() is None
    assert sink.taken == [b"one", b"three"]
    assert a.control.asked == 1

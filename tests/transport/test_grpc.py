from __future__ import annotations

import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from swarm.addresses import Address
from swarm.clock import ManualClock
from swarm.errors import AddressError, SwarmError, TransportError, UnreachablePeerError
from swarm.messages import Envelope, Hello, TensorLine
from swarm.records import PeerInfo
from swarm.testing.nodes import DEADLINE, Node, RecordingHandler, eventually
from swarm.transport.base import MAX_MESSAGE_BYTES
from swarm.transport.grpc import GrpcTransport, fetch_status, reach
from swarm.transport.grpc.diagnosis import may_explain
from swarm.transport.grpc.security import target
from swarm.transport.grpc.send_queue import MAX_QUEUED_MESSAGES, SendQueue
from swarm.transport.grpc.status import ERRORS, to_error
from tests.transport.threads import none_left


@pytest.fixture
def node():
    nodes = []

    def make(listen="127.0.0.1:0", **options):
        nodes.append(Node(GrpcTransport(listen, **options)))
        return nodes[-1]

    yield make
    for each in nodes:
        each.transport.close(0.0)


class FinishedCall:
    def __init__(self, code, details):
        self.code = lambda: code
        self.details = lambda: details


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_every_status_has_an_error_with_a_sentence(code):
    error = to_error(FinishedCall(code, "the details"), "host:1")
    assert isinstance(error, SwarmError)
    assert "host:1" in str(error)
    assert ("the details" in str(error)) == ("{details}" in ERRORS[code][1])


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (grpc.StatusCode.UNKNOWN, "Stream removed (recvmsg:Connection reset by peer (104))"),
        (grpc.StatusCode.UNAVAILABLE, "Cancelling all calls"),
        (grpc.StatusCode.UNAVAILABLE, "recvmsg:Connection reset by peer"),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed"),
    ],
)
def test_a_connection_that_broke_is_said_in_plain_words(code, details):
    error = to_error(FinishedCall(code, details), "host:1")
    assert isinstance(error, UnreachablePeerError)
    assert str(error) == "the connection to host:1 broke"
    assert may_explain(str(error)), "TLS may be why"


def test_the_details_of_a_status_are_written_out():
    error = to_error(FinishedCall(grpc.StatusCode.INTERNAL, "\x1b[2Jgone\n" + 5000 * "x"), "host:1")
    assert str(error).startswith(r"host:1 failed: \x1b[2Jgone\nxxx")
    assert len(str(error)) < 1100


@pytest.mark.parametrize("body", [b"[" * 100_000, b"[1]", b"not json", b"\xff", b'{"round": ' + b"9" * 10_000 + b"}"])
def test_a_status_that_is_none_is_refused(body):
    def answer(request, context):
        return body

    handler = grpc.method_handlers_generic_handler(
        "swarm.v1.Peer", {"Status": grpc.unary_unary_rpc_method_handler(answer)}
    )
    server = grpc.server(ThreadPoolExecutor(1), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with pytest.raises(TransportError, match="did not answer with a status"):
            fetch_status(f"127.0.0.1:{port}", DEADLINE)
    finally:
        server.stop(0).wait()


def test_a_status_without_details_still_makes_a_sentence():
    assert str(to_error(FinishedCall(grpc.StatusCode.INTERNAL, None), "host:1")).startswith("host:1 failed: no reason")


def test_what_is_no_address_is_refused():
    with pytest.raises(AddressError, match="'unix:/tmp/x:1' is no address"):
        GrpcTransport("unix:/tmp/x:1")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("127.0.0.1:5", "ipv4:127.0.0.1:5"),
        ("[::1]:5", "ipv6:[::1]:5"),
        ("localhost:5", "dns:///localhost:5"),
        ("paris@clinic-a.example.org:05", "dns:///clinic-a.example.org:5"),
        ("10.0.0.1:65535", "ipv4:10.0.0.1:65535"),
    ],
)
def test_addresses_become_targets(text, wanted):
    assert target(Address.parse(text)) == wanted


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:0", "[::1]:0"])
def test_the_returned_address_can_be_reached(node, listen):
    if "::" in listen and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    a, b = node(), node(listen)
    assert b.address.startswith(listen[:-1])
    a.say(b.address, "hello")
    eventually(lambda: b.handler.texts, "the message arrived")


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
@pytest.mark.parametrize("peer", ["127.0.0.1:9", "[::1]:9"])
def test_a_wildcard_is_told_as_the_address_from_which_the_peers_are_reached(node, monkeypatch, listen, peer):
    monkeypatch.setattr(reach, "_ELSEWHERE", ())
    monkeypatch.setattr("socket.gethostname", lambda: "localhost")
    if "::" in listen + peer and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    if "::" in peer and "::" not in listen:
        pytest.skip("a socket for IPv4 reaches no IPv6 peer")
    a, b = node(), node(listen, peers=[peer])
    assert b.address.rpartition(":")[0] == peer.rpartition(":")[0]
    a.say(b.address, "hello")
    eventually(lambda: b.handler.texts, "the message arrived")


@pytest.mark.parametrize(
    ("advertise", "told"),
    [
        ("north.example", "north.example:{port}"),
        ("north.example:7700", "north.example:7700"),
        ("[fd00::5]:7700", "[fd00::5]:7700"),
        ("fd00::5", "[fd00::5]:{port}"),
    ],
)
@pytest.mark.parametrize("listen", ["127.0.0.1:0", "0.0.0.0:0"])
def test_what_is_advertised_is_told(node, monkeypatch, listen, advertise, told):
    monkeypatch.setattr(reach, "_sources", pytest.fail)
    transport = node(listen, advertise=advertise)
    port = transport.address.rpartition(":")[2]
    assert transport.address == told.format(port=port)
    assert int(port) > 0


def test_a_port_in_use_is_named(node):
    a = node()
    with pytest.raises(AddressError, match=rf"{a.address}.*in use.*port 0"):
        GrpcTransport(a.address).start(RecordingHandler())


def test_status_is_what_the_handler_tells(node):
    a, b = node(), node()
    a.say(b.address, "hello")
    eventually(lambda: b.handler.texts, "the message arrived")
    assert fetch_status(b.address, DEADLINE) == {"name": "recorder", "received": 1}


def test_status_of_nobody(node):
    gone = node()
    gone.transport.close(0.0)
    with pytest.raises(UnreachablePeerError, match=gone.address):
        fetch_status(gone.address, DEADLINE)
    with pytest.raises(AddressError):
        fetch_status("nowhere", DEADLINE)


def test_a_call_without_a_thread_fails_and_later_ones_are_served(node):
    a, b = node(), node()
    with none_left("swarm-call"):
        for _ in range(2):
            with pytest.raises(TransportError, match="Error in service handler"):
                fetch_status(b.address, DEADLINE)
    assert fetch_status(b.address, DEADLINE)["name"] == "recorder"
    a.say(b.address, "hello")
    eventually(lambda: b.handler.texts, "the message arrived")


def test_a_loss_is_told_where_there_is_no_thread_to_look_for_the_reason(node):
    a, b = node(), node()
    a.say(b.address, "hello")
    eventually(lambda: b.handler.texts, "the message arrived")
    with none_left("swarm-diagnosis"):
        b.transport.close(0.0)
        eventually(lambda: a.handler.lost, "the loss is told")
    assert a.handler.lost[0][0] == b.address


def test_no_thread_outlives_a_transport_that_has_refused_calls(node, monkeypatch):
    before = {thread for thread in threading.enumerate() if thread.name == "swarm-call"}
    monkeypatch.setattr("swarm.transport.grpc.transport.MAX_CALLS", 0)
    a = node()
    with pytest.raises(TransportError, match="Concurrent RPC limit exceeded"):
        fetch_status(a.address, DEADLINE)
    a.transport.close(0.0)
    eventually(
        lambda: not {thread for thread in threading.enumerate() if thread.name == "swarm-call"} - before, "it has ended"
    )


def test_status_of_one_who_never_answers():
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UnreachablePeerError):
        fetch_status(f"127.0.0.1:{silent.getsockname()[1]}", 0.2)


def test_a_status_that_fails_says_so(node, caplog):
    a = node()
    a.handler.status = lambda: {"not": object()}
    with pytest.raises(TransportError, match="its log tells more"):
        fetch_status(a.address, DEADLINE)
    assert "could not be served" in caplog.text


def test_a_message_beyond_the_limit_is_told_as_a_loss(node):
    a, b = node(), node()
    a.transport.send(b.address, greeting(MAX_MESSAGE_BYTES))
    eventually(lambda: a.handler.lost, "the failure is told")
    assert str(MAX_MESSAGE_BYTES) in a.handler.lost[0][1]


def test_a_message_near_the_limit_arrives(node):
    a, b = node(), node()
    arrived = []
    b.handler.on_envelope = arrived.append
    a.transport.send(b.address, greeting(MAX_MESSAGE_BYTES - 2**18))
    eventually(lambda: arrived, "the message arrived")


def greeting(size: int) -> Envelope:
    """A message of at least ``size`` bytes, and little more."""
    line = TensorLine("w" * 500, (1,), "float32", "weight")
    info = PeerInfo(name="p", incarnation="i", address="a", session="s")
    return Envelope("s", "p", "i", "a", Hello(info, (line,) * -(-size // 500), (), None, wants_reply=False))


def test_the_send_queue_is_bounded():
    box = SendQueue()
    assert all(box.put(b"x") for _ in range(MAX_QUEUED_MESSAGES))
    assert not box.put(b"x")
    next(box)
    assert box.put(b"x")
    box = SendQueue()
    assert [box.put(bytes(MAX_MESSAGE_BYTES)) for _ in range(5)] == [True] * 4 + [False]
    next(box)
    assert [box.put(bytes(MAX_MESSAGE_BYTES)) for _ in range(2)] == [True, False]  # what was sent leaves room


def test_a_peer_that_takes_nothing_is_lost_not_queued_for_without_end(node):
    a = node()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        for _ in range(MAX_QUEUED_MESSAGES + 10):
            a.say(address, "hello")
        eventually(lambda: a.handler.lost, "the loss is told")
        assert "too slowly" in a.handler.lost[0][1]


def test_one_that_accepts_and_never_speaks_is_lost_after_the_failure_timeout(node):
    a = node(failure_timeout=0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        a.say(address, "hello")
        eventually(lambda: a.handler.lost, "the loss is told")
        assert a.handler.lost[0][0] == address


def test_a_peer_that_comes_up_later_is_reached(node):
    a, early = node(), node()
    early.transport.close(0.0)
    a.say(early.address, "too early")
    eventually(lambda: a.handler.lost, "nobody is there yet")
    late = node(early.address)

    def reached():
        a.say(late.address, "again")
        return late.handler.texts

    eventually(reached, "the late one is reached")


def test_a_message_that_cannot_be_read_ends_its_stream_with_the_reason(node):
    b = node()
    with grpc.insecure_channel(b.address) as channel:
        call = channel.stream_unary("/swarm.v1.Peer/Deliver").future(iter([b"\xff"]))
        assert call.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "no Envelope" in call.details()
        call = channel.stream_unary("/swarm.v1.Peer/Upload").future(iter([b"x"]))
        assert "without its swarm-header-bin" in call.details()
    assert not b.handler.texts


def test_importing_swarm_does_not_import_grpc():
    code = "import sys, swarm, swarm.transport.base, swarm.transport.memory; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_links_to_a_peer_that_never_ends_its_calls_are_closed(node):
    clock, released = ManualClock(), threading.Event()
    here, there = node(clock=clock, failure_timeout=10.0), node()
    there.handler.on_envelope = lambda _: released.wait(DEADLINE)  # so that it does not notice the end of the stream
    for _ in range(8):
        here.say(there.address, "hello")
        here.transport.forget(there.address)
        clock.advance(6.0)
    assert len(here.transport._retired) <= 2
    released.set()

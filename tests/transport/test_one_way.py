"""Peers to which nobody can connect: what they are told, and what a route to them may be used for."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from swarm.addresses import Address
from swarm.clock import ManualClock
from swarm.identity import Identity
from swarm.identity.throwaway import make_identities
from swarm.messages import DataChannelOffer, ReachAnswer, ReachRequest
from swarm.testing.nodes import DEADLINE, Node, eventually
from swarm.transport.base import MAX_MESSAGE_BYTES
from swarm.transport.data_channel import DataChannelTransport
from swarm.transport.grpc import GrpcTransport, answers, routes
from swarm.transport.grpc.reverse import ReverseChannel
from swarm.transport.grpc.security import open_channel
from swarm.transport.grpc.service import ANSWER, CALL_KEY, DELIVER, PROBE, REACH, REVERSE, STATUS
from swarm.transport.grpc.silence import Silence
from swarm.transport.grpc.wire import decode, encode
from tests.transport.threads import none_left

SCRIPT = Path(__file__).with_name("one_way_process.py")


@pytest.fixture
def bound():
    with ExitStack() as sockets:

        def bind():
            """A port of this machine to which nobody can connect."""
            made = sockets.enter_context(socket.socket())
            made.bind(("127.0.0.1", 0))
            return f"127.0.0.1:{made.getsockname()[1]}"

        yield bind


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
        host = Address.parse(options.get("listen", "127.0.0.1:0")).host
        nodes.append(Node(DataChannelTransport(transport, host) if data_channel else transport))
        return nodes[-1]

    yield start
    for node in nodes:
        node.transport.close(0.0)


def heard(source, target):
    count = len(target.handler.texts)
    source.say(target.address, "hello")
    eventually(lambda: len(target.handler.texts) > count, "the message arrived")


def refusal(call):
    with pytest.raises(grpc.RpcError) as refused:
        call()
    return refused.value.code(), refused.value.details()


def test_the_user_is_told_once_that_a_peer_cannot_connect(start, bound, caplog):
    shut, first, second = start(advertise=bound()), start(), start()
    caplog.set_level("INFO", "swarm.transport")
    heard(shut, first)
    heard(shut, second)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    way = "peers reach this one over the connections that it opens"
    assert warning.startswith(f"{shut.address} cannot be reached from {first.address}: {way}")
    assert f"{shut.address} cannot be reached from {second.address} either" in caplog.messages


def test_without_a_thread_to_answer_the_other_side_the_loss_is_told(start, bound):
    shut, other = start(advertise=bound()), start()
    with none_left("swarm-reverse"):
        shut.say(other.address, "hello")
        eventually(lambda: shut.handler.lost, "the loss is told")
    ((address, _),) = shut.handler.lost
    assert address == other.address
    heard(shut, other)


def test_a_peer_that_can_be_reached_is_told_nothing_and_opens_nothing(start, caplog):
    a, b = start(), start()
    heard(a, b)
    heard(b, a)
    assert not caplog.messages
    assert not [thread for thread in threading.enumerate() if thread.name == "swarm-reverse"]


def test_another_peer_at_the_address_is_not_taken_for_the_one_that_tells_it(start, caplog):
    a, b = start(), start()
    shut = start(advertise=b.address)  # as a private address that both networks have
    heard(shut, a)
    heard(a, shut)
    assert not b.handler.texts
    assert f"another peer is at {b.address}" in caplog.text


def test_a_name_of_dns_can_be_told(start, bound):
    shut, opened = start(advertise=bound().replace("127.0.0.1", "localhost")), start()
    heard(shut, opened)
    heard(opened, shut)


def test_two_that_accept_no_connection_are_told_what_to_do_once(start, bound, caplog):
    shut, other, opened = start(advertise=bound()), start(advertise=bound()), start()
    heard(shut, opened)
    for count in (1, 2):
        shut.say(other.address, "hello")
        eventually(lambda count=count: len(shut.handler.lost) == count, "the loss is told")
    (text,) = [text for text in caplog.messages if "two peers that accept no connections" in text]
    assert text.startswith(
        f"{other.address} cannot be reached from here, and this peer ({shut.address}) cannot be reached from "
        f"{opened.address}: two peers that accept no connections cannot meet; open the port of one of them to the "
        "other, or use a transport with a relay"
    )


def test_weights_travel_over_a_data_channel_that_the_receiver_has_opened(start, bound, caplog):
    caplog.set_level("INFO", "swarm.transport")
    shut, opened = start(data_channel=True, advertise=bound()), start(data_channel=True)
    heard(shut, opened)
    for number in (1, 2):
        assert opened.upload(shut.address, [[b"x"]], number=number).wait() is None
    assert [text for text in caplog.messages if "travel over" in text] == [
        f"weights to {shut.address} travel over the data channel"
    ]


def test_without_a_data_port_that_can_be_reached_weights_travel_over_grpc(start, bound, caplog, monkeypatch):
    caplog.set_level("INFO", "swarm.transport")
    shut, opened = start(data_channel=True, advertise=bound()), start(data_channel=True)
    heard(shut, opened)
    offer = DataChannelOffer(int(bound().rpartition(":")[2]), bytes(32))
    monkeypatch.setattr(opened.transport._dialler, "_expect", lambda _: offer)
    assert opened.upload(shut.address, [[b"x"]]).wait() is None
    assert f"weights to {shut.address} travel over gRPC streams: " in caplog.text


def test_a_route_leads_to_the_peer_of_its_certificate_only(start, identities):
    a = start(identity=identities["sender"])
    asked = encode(ReachRequest("rome@127.0.0.1:9", b""))
    with open_channel(Address.parse(a.address), 5.0, identities["paris"]) as channel:
        for call in (
            lambda: channel.unary_unary(REACH, None, None)(asked, timeout=DEADLINE),
            lambda: next(channel.unary_stream(REVERSE, None, None)(asked)),
        ):
            code, details = refusal(call)
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert "the certificate of paris does not allow to speak for rome" in details
    assert not a.transport.is_reversed("rome@127.0.0.1:9")


def test_only_the_peer_that_was_asked_can_answer_a_call(start, identities):
    a = start(identity=identities["sender"])
    there = "paris@127.0.0.1:9"
    with ExitStack() as channels:
        paris, rome = (
            channels.enter_context(open_channel(Address.parse(a.address), 5.0, identities[name]))
            for name in ("paris", "rome")
        )
        told = paris.unary_stream(REVERSE, None, None)(encode(ReachRequest(there, b"")))
        assert next(told) == b""
        a.say(there, "a secret")
        name = next(told)[1:]

        def answer(channel, named):
            unsaid = iter(threading.Event().wait, True)
            return next(channel.stream_stream(ANSWER, None, None)(unsaid, metadata=((CALL_KEY, named),)))

        for channel, named in ((rome, name), (paris, bytes(16)), (paris, b"")):
            code, details = refusal(lambda channel=channel, named=named: answer(channel, named))
            assert code is grpc.StatusCode.FAILED_PRECONDITION
            assert "no such call" in details
        assert b"a secret" in answer(paris, name)


def test_a_peer_that_is_reached_directly_gets_no_route(start):
    a, b = start(), start()
    heard(a, b)
    with grpc.insecure_channel(a.address) as channel:
        code, details = refusal(
            lambda: next(channel.unary_stream(REVERSE, None, None)(encode(ReachRequest(b.address, b""))))
        )
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "is reached from here" in details
    heard(a, b)


def test_only_the_nonce_of_this_process_is_known(start):
    a = start()
    with grpc.insecure_channel(a.address) as channel:
        probe = channel.unary_unary(PROBE, None, None)
        assert probe(bytes(16), timeout=DEADLINE) == b""
        assert probe(a.transport._routes.nonce, timeout=DEADLINE) == b"\1"


def test_more_calls_than_are_answered_at_once_are_not_answered(start, bound, monkeypatch):
    monkeypatch.setattr(answers, "MAX_ANSWERS", 1)
    shut, opened = start(advertise=bound()), start()
    heard(shut, opened)
    heard(opened, shut)
    outcome = opened.upload(shut.address, [[b"x"]])
    heard(opened, shut)
    assert not outcome.reasons
    assert not shut.handler.streams
    outcome.upload.cancel()


def test_a_peer_of_an_earlier_release_is_talked_to_as_before(start):
    arrived = []
    handlers = {"Deliver": grpc.stream_unary_rpc_method_handler(lambda messages, _: arrived.extend(messages) or b"")}
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(DELIVER.split("/")[1], handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    a = start()
    a.say(f"127.0.0.1:{port}", "hello")
    a.transport.close(DEADLINE)
    eventually(lambda: arrived, "the message arrived")
    server.stop(0).wait(DEADLINE)


def test_the_largest_message_passes(start, bound):
    shut, opened = start(advertise=bound()), start()
    heard(shut, opened)
    with ReverseChannel(opened.transport._routes.find(shut.address), weights=False) as channel:
        status = channel.unary_unary(STATUS)
        assert b"recorder" in status(bytes(MAX_MESSAGE_BYTES), timeout=DEADLINE)
        code, details = refusal(lambda: status(bytes(MAX_MESSAGE_BYTES + 1), timeout=DEADLINE))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "ended" in details


def test_a_call_that_is_not_answered_in_time_ends(start):
    a, there = start(), "127.0.0.1:9"
    with grpc.insecure_channel(a.address) as channel:
        told = channel.unary_stream(REVERSE, None, None)(encode(ReachRequest(there, b"")))
        assert next(told) == b""
        with ReverseChannel(a.transport._routes.find(there), weights=False) as reverse:
            code, _ = refusal(lambda: reverse.unary_unary(STATUS)(b"", timeout=0.05))
            assert code is grpc.StatusCode.DEADLINE_EXCEEDED
            late = reverse.unary_unary(STATUS).future(b"", timeout=0.05)
            eventually(lambda: late.code() is grpc.StatusCode.DEADLINE_EXCEEDED, "the call that nobody awaits ended")
            pending = reverse.unary_stream(STATUS)(b"")
        assert pending.code() is grpc.StatusCode.CANCELLED
        with pytest.raises(ValueError, match="closed"):
            reverse.unary_stream(STATUS)(b"")


def test_silence_is_measured_by_the_system():
    clock = ManualClock()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as there:
        here, place = server.accept()
        silence = Silence(server.getsockname()[1], clock)

        def seconds(*places):
            clock.advance(1.0)
            return silence.seconds(places)

        with here:
            eventually(lambda: seconds(place) > 0.05, "it has been silent")
            there.sendall(b"x")
            eventually(lambda: seconds(place) < 0.05, "it has sent something")
            eventually(lambda: seconds(place) > 0.05, "it is silent again")
            assert seconds() == seconds(("10.0.0.1", 9)) == 0.0


def test_a_peer_cannot_ask_where_another_can_connect_to(start, identities):
    clock = ManualClock()
    a = start(identity=identities["sender"], clock=clock)
    with open_channel(Address.parse(a.address), 5.0, identities["paris"]) as channel:

        def reach(port):
            asked = encode(ReachRequest(f"paris@127.0.0.1:{port}", b""))
            return decode(ReachAnswer, channel.unary_unary(REACH, None, None)(asked, timeout=DEADLINE))

        for port in range(1, routes.MOST_OF_A_PEER + 1):
            assert reach(port).reason
        code, details = refusal(lambda: reach(99))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert f"at {routes.MOST_OF_A_PEER} other addresses" in details
        assert reach(1).reason, "its own address can be tested again"
        clock.advance(routes.MEMORY_SECONDS)
        assert reach(99).reason


@pytest.mark.parametrize("address", ["no-address", "sender@", "sender@127.1:7"])
def test_what_is_no_address_is_refused_by_name(start, address, caplog):
    a = start()
    with grpc.insecure_channel(a.address) as channel:
        asked = encode(ReachRequest(address, b""))
        for call in (
            lambda: channel.unary_unary(REACH, None, None)(asked, timeout=DEADLINE),
            lambda: next(channel.unary_stream(REVERSE, None, None)(asked)),
        ):
            code, details = refusal(call)
            assert code is grpc.StatusCode.FAILED_PRECONDITION
            assert f"{address!r} is no address" in details
    assert not caplog.messages


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_an_address_of_ipv6_can_be_told(start):
    with socket.socket(socket.AF_INET6) as bound:
        bound.bind(("::1", 0))
        shut = start(data_channel=True, listen="[::1]:0", advertise=f"[::1]:{bound.getsockname()[1]}")
        opened = start(data_channel=True, listen="[::1]:0")
        heard(shut, opened)
        heard(opened, shut)
        assert opened.upload(shut.address, [[b"x"]]).wait() is None


def test_a_frozen_peer_that_opened_the_connections_is_lost(start, bound):
    opened = start(failure_timeout=1.0)
    process = subprocess.Popen(
        [sys.executable, SCRIPT, bound(), opened.address], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    try:
        address = process.stdout.readline().strip()
        eventually(lambda: opened.handler.texts, "it was heard")
        opened.say(address, "hello")
        assert process.stdout.readline().strip() == "hello"
        os.kill(process.pid, signal.SIGSTOP)
        eventually(lambda: opened.handler.lost, "the frozen peer is lost")
        ((lost, reason),) = opened.handler.lost
        assert lost == address
        assert "cannot be reached" in reason
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()

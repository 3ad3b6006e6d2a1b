"""Data channels that break, are cancelled or closed in the middle of a stream."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest

from swarm.errors import DataChannelError, ExchangeError
from swarm.messages import DataChannelRequest, StreamHeader
from swarm.records import Attempt
from swarm.testing.nodes import DEADLINE, eventually, settled
from swarm.transport.data_channel.upload import DataChannelUpload

HEADER = StreamHeader("session", "sender", "incarnation", "lineage", 1, Attempt(1, "sender"))
MIB = 2**20
SCRIPT = Path(__file__).parents[1] / "peer_process.py"


def test_a_data_channel_that_breaks_fails_its_stream_and_the_next_gets_a_new_one(node):
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
    for connection in tuple(b.transport._listener._connections):
        connection.break_()
    assert "channel" in outcome.wait()
    released.set()
    a.sends(b, [2])
    assert a.control.uploads == 0


def test_a_data_channel_that_ended_between_rounds_is_replaced_unnoticed(node):
    a, b = node(), node()
    a.sends(b, [1])
    for connection in tuple(b.transport._listener._connections):
        connection.break_()
    eventually(lambda: not b.transport._listener._connections, "the other end is closed")
    a.sends(b, [2])
    assert (a.control.asked, a.control.uploads) == (2, 0)


def test_a_lost_peer_takes_its_streams_with_it(node):
    a, b = node(), node()
    a.say(b.address, "hello")
    released = threading.Event()
    b.handler.on_frame = lambda _header, _data: released.wait(2 * DEADLINE) and None
    outcome = a.upload(b.address, ([bytes(MIB)] for _ in range(256)))
    eventually(lambda: 1 in b.handler.streams, "the stream is open")
    b.control.close(0.0)  # its data channels stay
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
    a.sends(b, [2])
    eventually(lambda: len(b.transport._listener._connections) == 1, "the cancelled data channel ended")
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
                raise DataChannelError("the connection was closed")

        def break_(self):
            self.broken.set()

        readable = staticmethod(lambda: False)
        require_trust = staticmethod(lambda: None)
        away = nullcontext()

    memory, connection = bytearray(b"weights"), Sending()
    upload = DataChannelUpload(node().control, "address", HEADER, itertools.repeat([memory]), lambda _: None)
    threading.Thread(target=upload.run, args=(connection,), daemon=True).start()
    assert connection.reached.wait(DEADLINE)
    cancelled = threading.Thread(target=upload.cancel, daemon=True)
    cancelled.start()
    cancelled.join(0.1)
    assert cancelled.is_alive()
    connection.released.set()
    cancelled.join(DEADLINE)
    assert not cancelled.is_alive()


def test_an_upload_whose_data_channel_is_given_up_while_it_is_opened_ends_with_the_reason(node):
    a, b = node(), node()
    asked, released = threading.Event(), threading.Event()

    def offer(_offer):
        asked.set()
        released.wait(DEADLINE)
        raise ExchangeError("not now")

    b.control.offer = offer
    outcome = a.upload(b.address, [[b"x"]])
    assert asked.wait(DEADLINE)
    a.transport.forget(b.address)
    released.set()
    assert "not now" in outcome.wait()
    assert a.control.uploads == 0


def test_closing_ends_the_threads(node):
    a, b = node(), node()
    a.sends(b, [1])
    a.transport.close(0.0)
    assert not [each for each in threading.enumerate() if each.name == "swarm-data-channel-send"]
    b.transport.close(0.0)
    eventually(lambda: not [each for each in threading.enumerate() if "swarm-data-channel" in each.name], "they ended")


def test_a_killed_peer_fails_a_stream_at_once_though_its_forked_child_lives(node):
    a = node(failure_timeout=60.0)
    with subprocess.Popen(
        [sys.executable, SCRIPT, "fork"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        address = process.stdout.readline().strip()
        assert a.upload(address, [[b"one"]]).wait() is None  # so the child inherits the data channel
        process.stdin.write("\n")
        process.stdin.flush()
        child = int(process.stdout.readline())
        stall = threading.Event()

        def frames():
            yield [b"two"]
            stall.wait(DEADLINE)
            yield from ([bytes(MIB)] for _ in range(256))

        offer = a.control.ask_data_channel(address, DataChannelRequest("session", "sender", "incarnation"), DEADLINE)
        outcome = a.upload(address, frames(), number=2)
        process.kill()
        process.wait()
        stall.set()
        reason = outcome.wait()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", offer.port), DEADLINE)  # nor does the child listen
        subprocess.run(["kill", "-KILL", str(child)], check=True)  # it lived
    assert a.control.uploads == 0
    assert "channel" in reason

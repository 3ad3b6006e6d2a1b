"""The contract of a transport, as a pytest class.

Subclass it in a test module and say how a node is made::

    class TestMyTransport(TransportContract):
        def make(self) -> Transport:
            return MyTransport()

Nodes that are made in one test must be able to reach each other.
"""

from __future__ import annotations

import gc
import threading
import weakref
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING

import pytest

from swarm.errors import ExchangeError, UnreachablePeerError
from swarm.messages import FetchRequest, StreamHeader
from swarm.records import Attempt
from swarm.testing.nodes import DEADLINE, Node, Outcome, PlacingRecorder, eventually, settled
from swarm.transport.base import HEAD_BYTES, MAX_FRAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swarm.transport.base import Frame, Transport

MIB = 2**20


class TransportContract(ABC):
    """What every transport must do."""

    @abstractmethod
    def make(self) -> Transport:
        """A new transport, not yet started."""

    def kill(self, node: Node) -> None:
        """End ``node`` without a farewell, as far as that can be done here."""
        node.transport.close(0.0)

    @pytest.fixture
    def node(self) -> Iterator[Callable[[], Node]]:
        """Makes nodes that are closed after the test."""
        nodes: list[Node] = []

        def make() -> Node:
            nodes.append(Node(self.make()))
            return nodes[-1]

        yield make
        for each in nodes:
            each.transport.close(0.0)

    def test_messages_arrive_in_order(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        texts = [str(number) for number in range(500)]
        for text in texts:
            a.say(b.address, text)
        eventually(lambda: len(b.handler.texts) >= 500, "all messages arrived")
        assert b.handler.texts == texts

    def test_every_node_reaches_every_other(self, node: Callable[[], Node]) -> None:
        nodes = [node() for _ in range(4)]
        for source in nodes:
            for target in nodes:
                if source is not target:
                    source.say(target.address, source.address)
        for target in nodes:
            texts = target.handler.texts
            eventually(partial(lambda heard: len(heard) == 3, texts), "three others were heard")
            assert sorted(texts) == sorted(each.address for each in nodes if each is not target)
        assert not any(each.handler.lost for each in nodes)

    def test_an_unknown_address_is_lost_with_a_reason(self, node: Callable[[], Node]) -> None:
        a, gone = node(), node()
        gone.transport.close(0.0)
        for address in (gone.address, "no address"):
            a.say(address, "is anybody there?")
            eventually(lambda: a.handler.lost, "the loss is told")
            lost, reason = a.handler.lost.pop()
            assert lost == address
            assert reason

    def test_a_closed_peer_is_lost_once_by_those_who_talk_to_it(self, node: Callable[[], Node]) -> None:
        a, b, c, stranger = node(), node(), node(), node()
        for source in (a, b):
            source.say(c.address, "hello")
            source.say(stranger.address, "hello")
        eventually(lambda: len(c.handler.texts) == 2 and len(stranger.handler.texts) == 2, "both were heard")
        self.kill(c)
        eventually(lambda: a.handler.lost and b.handler.lost, "both lost the third")
        for source in (a, b):
            source.say(stranger.address, "still here")
        eventually(lambda: len(stranger.handler.texts) == 4, "the others still talk")
        assert [address for address, _ in a.handler.lost + b.handler.lost] == [c.address, c.address]
        assert not stranger.handler.lost

    def test_a_forgotten_address_is_not_reported(self, node: Callable[[], Node]) -> None:
        a, b, c = node(), node(), node()
        for target in (b, c):
            a.say(target.address, "hello")
        eventually(lambda: b.handler.texts and c.handler.texts, "both were heard")
        a.transport.forget(b.address)
        b.transport.close(0.0)
        c.transport.close(0.0)
        eventually(lambda: a.handler.lost, "the other one is lost")
        assert [address for address, _ in a.handler.lost] == [c.address]

    def test_a_forgotten_address_can_be_sent_to_again(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        a.say(b.address, "one")
        eventually(lambda: b.handler.texts, "the first arrived")
        a.transport.forget(b.address)
        a.say(b.address, "two")
        eventually(lambda: len(b.handler.texts) == 2, "the second arrived")
        assert b.handler.texts == ["one", "two"]

    def test_closing_sends_what_is_queued(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        for number in range(200):
            a.say(b.address, str(number))
        a.transport.close(DEADLINE)
        eventually(lambda: len(b.handler.texts) == 200, "all messages arrived")

    def test_closing_twice_and_using_a_closed_transport_is_harmless(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        a.transport.close()
        a.transport.close()
        a.say(b.address, "too late")
        a.upload(b.address, [[b"too late"]]).upload.cancel()
        a.transport.forget(b.address)
        b.say(a.address, "hello")
        eventually(lambda: b.handler.lost, "the closed one is lost")
        assert not b.handler.texts
        assert not b.handler.streams
        assert not a.handler.lost

    def test_a_frame_arrives_joined(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        frames: list[Frame] = [[b"ab", bytearray(b"cd"), memoryview(b"xefx")[1:3]], [b"g"], [b""], [memoryview(b"hi")]]
        assert a.upload(b.address, frames).wait() is None
        assert b.handler.streams == {1: [b"abcdef", b"g", b"", b"hi"]}

    def test_large_frames_arrive_whole(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        parts = [bytes([number]) * (MAX_FRAME_BYTES // 2) for number in range(8)]
        outcome = a.upload(b.address, ([first, second] for first, second in zip(parts[::2], parts[1::2], strict=True)))
        assert outcome.wait() is None
        assert b"".join(b.handler.streams[1]) == b"".join(parts)

    def test_a_sink_that_gives_places_gets_every_frame(self, node: Callable[[], Node]) -> None:
        a, b, sink = node(), node(), PlacingRecorder()
        b.handler.sink = sink
        rest = bytes(range(256)) * 12_000
        heads = [kind * HEAD_BYTES for kind in (b"P", b"W", b"P")]
        frames = [b"tiny", *heads, *(head + rest for head in heads), b"P" * 16 + b"x"]
        sent: list[Frame] = [[frame[:HEAD_BYTES], memoryview(frame)[HEAD_BYTES:]] for frame in frames]
        assert a.upload(b.address, sent).wait() is None
        assert sink.taken == frames

    def test_a_frame_beyond_the_limit_fails_the_upload(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        reason = a.upload(b.address, [[bytes(MAX_FRAME_BYTES), b"x"]]).wait()
        assert reason is not None
        assert str(MAX_FRAME_BYTES) in reason

    def test_uploads_run_side_by_side(self, node: Callable[[], Node]) -> None:
        a, b, c = node(), node(), node()
        blocked = threading.Event()
        b.handler.on_frame = lambda header, _: None if header.round != 1 else void(blocked.wait(DEADLINE))
        first = a.upload(b.address, [[b"first"]], number=1)
        others = [a.upload(b.address, [[b"second"]], number=2), c.upload(b.address, [[b"third"]], number=3)]
        assert [outcome.wait() for outcome in others] == [None, None]
        assert not first.reasons
        blocked.set()
        assert first.wait() is None
        assert b.handler.streams == {1: [b"first"], 2: [b"second"], 3: [b"third"]}

    def test_messages_pass_a_blocked_stream(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        blocked = threading.Event()
        b.handler.on_frame = lambda _header, _data: void(blocked.wait(DEADLINE))
        outcome = a.upload(b.address, ([bytes(MIB)] for _ in range(64)))
        a.say(b.address, "in between")
        eventually(lambda: b.handler.texts, "the message arrived")
        assert not b.handler.streams.get(1)
        blocked.set()
        assert outcome.wait() is None

    def test_a_blocked_sink_slows_the_sender_down(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        total, blocked, made = 256, threading.Event(), []

        def frames() -> Iterator[Frame]:
            for number in range(total):
                made.append(number)
                yield [bytes(MIB)]

        b.handler.on_frame = lambda _header, _data: void(blocked.wait(DEADLINE))
        outcome = a.upload(b.address, frames())
        stalled = settled(lambda: len(made))
        assert stalled <= 64, "the network may hold a few dozen frames, not the stream"
        blocked.set()
        assert outcome.wait() is None
        assert len(b.handler.streams[1]) == total

    def test_a_refused_stream_tells_why(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        b.handler.refusal = "no such attempt: ✗"
        reason = a.upload(b.address, [[b"x"]]).wait()
        assert reason is not None
        assert "no such attempt: ✗" in reason

    def test_a_sink_ends_the_stream_and_tells_why(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        endless = iter(lambda: [bytes(MIB)], None)

        def refuse(_header: StreamHeader, _data: bytes) -> None:
            if len(b.handler.streams[1]) == 2:
                raise ExchangeError("the third frame is not finite")

        b.handler.on_frame = refuse
        reason = a.upload(b.address, endless).wait()
        assert reason is not None
        assert "the third frame is not finite" in reason
        assert len(b.handler.streams[1]) == 2

    def test_frames_that_cannot_be_read_fail_the_upload(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()

        def frames() -> Iterator[Frame]:
            yield [b"fine"]
            raise RuntimeError("the buffer is gone")

        reason = a.upload(b.address, frames()).wait()
        assert reason is not None
        assert "the buffer is gone" in reason

    def test_a_cancelled_upload_reads_no_further_frame(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        made: list[int] = []

        def frames() -> Iterator[Frame]:
            while True:
                made.append(1)
                yield [bytes(1024)]

        outcome = a.upload(b.address, frames())
        eventually(lambda: b.handler.streams.get(1), "the first frame arrived")
        outcome.upload.cancel()
        count = len(made)
        outcome.upload.cancel()
        assert a.upload(b.address, [[b"next"]], number=2).wait() is None
        assert len(made) == count

    @pytest.mark.parametrize("cancelled", [False, True])
    def test_an_upload_that_is_over_holds_nothing(self, node: Callable[[], Node], cancelled: bool) -> None:
        """Whole models hang on it, which should not wait for Python's collector."""
        a, b, outcome = node(), node(), Outcome()

        def frames(_model: Outcome) -> Iterator[Frame]:
            yield [b"first"]
            while cancelled:
                yield [bytes(1024)]

        gone, header = weakref.ref(outcome), StreamHeader("session", "sender", "i", "lineage", 1, Attempt(1, "sender"))
        gc.disable()
        try:
            upload = a.transport.upload(b.address, header, frames(outcome), outcome.done)
            eventually(lambda: b.handler.streams.get(1), "the first frame arrived")
            upload.cancel() if cancelled else outcome.wait()
            del upload, outcome
            eventually(lambda: gone() is None, "it is let go of")
        finally:
            gc.enable()

    def test_an_upload_to_nobody_fails(self, node: Callable[[], Node]) -> None:
        a, gone = node(), node()
        gone.transport.close(0.0)
        for address in (gone.address, "no address"):
            assert a.upload(address, [[b"x"]]).wait()

    def test_an_upload_fails_when_the_peer_is_lost(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        released = threading.Event()
        b.handler.on_frame = lambda _header, _data: void(released.wait(DEADLINE))
        outcome = a.upload(b.address, ([bytes(MIB)] for _ in range(256)))
        eventually(lambda: 1 in b.handler.streams, "the stream is open")
        self.kill(b)
        assert outcome.wait()
        released.set()

    def test_done_is_called_once(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        outcome = a.upload(b.address, [[b"x"]])
        outcome.wait()
        self.kill(b)
        a.say(b.address, "hello")
        eventually(lambda: a.handler.lost, "the peer is lost")
        assert outcome.reasons == [None]

    def test_fetch_yields_what_is_served(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        b.handler.served = lambda: ([bytes([number]) * MIB, b"end"] for number in range(40))
        frames = a.fetch(b.address)
        assert frames == [bytes([number]) * MIB + b"end" for number in range(40)]

    def test_fetch_tells_what_is_not_held(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        with pytest.raises(ExchangeError, match="does not hold 'other'"):
            a.fetch(b.address, "other")

    def test_fetch_from_nobody(self, node: Callable[[], Node]) -> None:
        a, gone = node(), node()
        gone.transport.close(0.0)
        for address in (gone.address, "no address"):
            with pytest.raises(UnreachablePeerError):
                a.fetch(address)
        assert not a.handler.lost

    def test_fetch_does_not_wait_for_ever(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        released = threading.Event()

        def served() -> Iterator[Frame]:
            released.wait(DEADLINE)
            yield [b"late"]

        b.handler.served = served
        with pytest.raises(UnreachablePeerError):
            a.fetch(b.address, timeout=0.1)
        released.set()

    def test_fetch_fails_when_the_peer_is_lost(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        b.handler.served = lambda: iter(lambda: [bytes(MIB)], None)
        frames = a.transport.fetch(b.address, FetchRequest("session", "sender", "held"), DEADLINE)
        assert len(next(iter(frames))) == MIB
        self.kill(b)
        with pytest.raises(UnreachablePeerError):
            for _ in frames:
                pass

    def test_a_fetch_may_be_left_early(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        ended = threading.Event()

        def served() -> Iterator[Frame]:
            try:
                while True:
                    yield [bytes(MIB)]
            finally:
                ended.set()

        b.handler.served = served
        frames = a.transport.fetch(b.address, FetchRequest("session", "sender", "held"), DEADLINE)
        next(iter(frames))
        del frames
        assert ended.wait(DEADLINE)


def void(_result: object) -> None:
    """Drop a result, where a lambda must return nothing."""

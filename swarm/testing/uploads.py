"""The part of the contract of a transport that is about streams to a peer."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import TYPE_CHECKING

import pytest

from swarm.errors import ExchangeError
from swarm.messages import StreamHeader
from swarm.records import Attempt
from swarm.testing.messaging import NodeContract
from swarm.testing.nodes import DEADLINE, Node, Outcome, RecordingSink, eventually, settled
from swarm.testing.wording import broken, shown
from swarm.transport.base import HEAD_BYTES, MAX_FRAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swarm.transport.base import Frame

MIB = 2**20


class UploadContract(NodeContract):
    """Frames arrive whole and in order, uploads run side by side, and each ends once, with a reason if it failed."""

    def test_a_frame_arrives_joined(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        frames: list[Frame] = [[b"ab", bytearray(b"cd"), memoryview(b"xefx")[1:3]], [b"g"], [b""], [memoryview(b"hi")]]
        reason = a.upload(b.address, frames).wait()
        assert reason is None, broken(
            "An upload whose frames all arrived ends without a reason.",
            given="frames of several parts, of bytes, bytearray and memoryview, one of them empty",
            got=shown(reason),
            do="call done(None) once everything was taken",
        )
        assert b.handler.streams == {1: [b"abcdef", b"g", b"", b"hi"]}, broken(
            "The parts of a frame arrive joined, as one frame, in order.",
            given="frames of several parts, of bytes, bytearray and memoryview, one of them empty",
            got=shown(b.handler.streams),
            do="join the parts of each frame, and keep empty frames",
        )

    def test_large_frames_arrive_whole(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        parts = [bytes([number]) * (MAX_FRAME_BYTES // 2) for number in range(8)]
        outcome = a.upload(b.address, ([first, second] for first, second in zip(parts[::2], parts[1::2], strict=True)))
        assert outcome.wait() is None, broken(
            "An upload of frames of MAX_FRAME_BYTES ends without a reason.",
            given="four frames of the largest size that is allowed",
            got=shown(outcome.reasons),
            do="allow frames of MAX_FRAME_BYTES",
        )
        assert b"".join(b.handler.streams[1]) == b"".join(parts), broken(
            "Large frames arrive whole and in order.",
            given="four frames of the largest size that is allowed",
            got=f"{len(b.handler.streams[1])} frames with other bytes",
            do="cut frames for the network if need be, and join them again",
        )

    def test_a_sink_gets_every_frame_in_its_own_memory(self, node: Callable[[], Node]) -> None:
        a, b, sink = node(), node(), RecordingSink()
        b.handler.sink = sink
        rest = bytes(range(256)) * 12_000
        heads = [kind * HEAD_BYTES for kind in (b"P", b"W", b"P")]
        frames = [b"", b"tiny", *heads, *(head + rest for head in heads), b"P" * 16 + b"x"]
        sent: list[Frame] = [[frame[:HEAD_BYTES], memoryview(frame)[HEAD_BYTES:]] for frame in frames]
        reason = a.upload(b.address, sent).wait()
        given = "small and large frames, some of them shorter than HEAD_BYTES"
        assert reason is None, broken(
            "An upload of frames of any size ends without a reason.",
            given=given,
            got=shown(reason),
            do="call done(None) once everything was taken",
        )
        assert sink.sizes == [(min(len(frame), HEAD_BYTES), max(len(frame) - HEAD_BYTES, 0)) for frame in frames], (
            broken(
                "A sink is shown HEAD_BYTES of a frame, or all of a shorter one, and the size of the rest.",
                given=given,
                got=shown(sink.sizes),
                do="call begin() once for each frame, with its first HEAD_BYTES and the number of bytes that follow",
            )
        )
        assert sink.taken == frames, broken(
            "A sink gets every frame once, in the memory that it gave, in order.",
            given=given,
            got=f"{len(sink.taken)} frames, {sum(map(len, sink.taken))} bytes",
            do="fill the memory that begin() returns, then call end()",
        )

    def test_a_frame_beyond_the_limit_fails_the_upload(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        reason = a.upload(b.address, [[bytes(MAX_FRAME_BYTES), b"x"]]).wait()
        assert reason is not None, broken(
            "An upload with a frame beyond MAX_FRAME_BYTES fails.",
            given="a frame of one byte more than MAX_FRAME_BYTES",
            got="success",
            do="refuse such a frame on the sender's side",
        )
        assert str(MAX_FRAME_BYTES) in reason, broken(
            "The reason names the limit.",
            given="a frame of one byte more than MAX_FRAME_BYTES",
            got=shown(reason),
            do="name MAX_FRAME_BYTES in the reason",
        )

    def test_uploads_run_side_by_side(self, node: Callable[[], Node]) -> None:
        a, b, c = node(), node(), node()
        blocked = threading.Event()
        b.handler.on_frame = lambda header, _: None if header.round != 1 else ignore(blocked.wait(DEADLINE))
        first = a.upload(b.address, [[b"first"]], number=1)
        others = [a.upload(b.address, [[b"second"]], number=2), c.upload(b.address, [[b"third"]], number=3)]
        assert [outcome.wait() for outcome in others] == [None, None], broken(
            "An upload does not wait for another one that is blocked.",
            given="a stream whose sink blocks, and two others to the same node",
            got=shown([outcome.reasons for outcome in others]),
            do="give each upload a stream of its own",
        )
        assert not first.reasons, broken(
            "A blocked upload has not ended.",
            given="a stream whose sink blocks, and two others to the same node",
            got=shown(first.reasons),
            do="call done once the sink has taken everything",
        )
        blocked.set()
        assert first.wait() is None, broken(
            "A blocked upload goes on once its sink does.",
            given="a stream whose sink blocks, and two others to the same node",
            got=shown(first.reasons),
            do="keep a stream open while its sink blocks",
        )
        assert b.handler.streams == {1: [b"first"], 2: [b"second"], 3: [b"third"]}, broken(
            "Each stream gets its own frames.",
            given="a stream whose sink blocks, and two others to the same node",
            got=shown(b.handler.streams),
            do="open one sink per upload, by its header",
        )

    def test_messages_pass_a_blocked_stream(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        blocked = threading.Event()
        b.handler.on_frame = lambda _header, _data: ignore(blocked.wait(DEADLINE))
        outcome = a.upload(b.address, ([bytes(MIB)] for _ in range(64)))
        a.say(b.address, "in between")
        eventually(lambda: b.handler.texts, "the message arrived")
        assert not b.handler.streams.get(1), broken(
            "Messages do not wait behind a stream.",
            given="a message to a node whose sink blocks in a stream of 64 MiB",
            got="the whole first frame was taken before",
            do="carry messages beside streams",
        )
        blocked.set()
        assert outcome.wait() is None, broken(
            "The stream goes on afterwards.",
            given="a message to a node whose sink blocks in a stream of 64 MiB",
            got=shown(outcome.reasons),
            do="keep a stream open while its sink blocks",
        )

    def test_a_blocked_sink_slows_the_sender_down(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        total, blocked, made = 256, threading.Event(), []

        def frames() -> Iterator[Frame]:
            for number in range(total):
                made.append(number)
                yield [bytes(MIB)]

        b.handler.on_frame = lambda _header, _data: ignore(blocked.wait(DEADLINE))
        outcome = a.upload(b.address, frames())
        stalled = settled(lambda: len(made))
        assert stalled <= 64, broken(
            "A sink that blocks slows its sender down: the network may hold a few dozen frames, not the stream.",
            given="a sink that blocks, and a stream of 256 MiB",
            got=f"{stalled} frames were made",
            do="let the sender wait once what is on its way exceeds a limit",
        )
        blocked.set()
        assert outcome.wait() is None, broken(
            "The stream goes on once the sink does.",
            given="a sink that blocks, and a stream of 256 MiB",
            got=shown(outcome.reasons),
            do="keep a stream open while its sink blocks",
        )
        assert len(b.handler.streams[1]) == total, broken(
            "Every frame arrives.",
            given="a sink that blocks, and a stream of 256 MiB",
            got=f"{len(b.handler.streams[1])} of {total} frames",
            do="drop no frame of a slow stream",
        )

    def test_a_refused_stream_tells_why(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        b.handler.refusal = "no such attempt: ✗"
        reason = a.upload(b.address, [[b"x"]]).wait()
        assert reason is not None, broken(
            "An upload that is refused fails.",
            given="a handler that raises ExchangeError in open_sink()",
            got="success",
            do="end the stream where open_sink() raises",
        )
        assert "no such attempt: ✗" in reason, broken(
            "The reason is that of the receiver, in any language.",
            given="a handler that raises ExchangeError in open_sink()",
            got=shown(reason),
            do="carry the text of the ExchangeError to the sender, as UTF-8",
        )

    def test_a_sink_ends_the_stream_and_tells_why(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        endless = iter(lambda: [bytes(MIB)], None)

        def refuse(_header: StreamHeader, _data: bytes) -> None:
            if len(b.handler.streams[1]) == 2:
                raise ExchangeError("the third frame is not finite")

        b.handler.on_frame = refuse
        reason = a.upload(b.address, endless).wait()
        assert reason is not None, broken(
            "An upload whose sink raises fails.",
            given="a sink that raises ExchangeError at the third frame of an endless stream",
            got="success",
            do="end the stream where the sink raises",
        )
        assert "the third frame is not finite" in reason, broken(
            "The reason is that of the receiver.",
            given="a sink that raises ExchangeError at the third frame of an endless stream",
            got=shown(reason),
            do="carry the text of the ExchangeError to the sender",
        )
        assert len(b.handler.streams[1]) == 2, broken(
            "Nothing is taken after the error.",
            given="a sink that raises ExchangeError at the third frame of an endless stream",
            got=f"{len(b.handler.streams[1])} frames",
            do="not call the sink again after it has raised",
        )

    def test_frames_that_cannot_be_read_fail_the_upload(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()

        def frames() -> Iterator[Frame]:
            yield [b"fine"]
            raise RuntimeError("the buffer is gone")

        reason = a.upload(b.address, frames()).wait()
        assert reason is not None, broken(
            "An upload whose frames cannot be read fails.",
            given="frames whose iterator raises after the first",
            got="success",
            do="end the stream where the iterator raises",
        )
        assert "the buffer is gone" in reason, broken(
            "The reason says what was raised.",
            given="frames whose iterator raises after the first",
            got=shown(reason),
            do="put the error of the iterator into the reason",
        )

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
        reason = a.upload(b.address, [[b"next"]], number=2).wait()
        assert reason is None, broken(
            "Another upload works after one was cancelled.",
            given="an endless upload that is cancelled twice, and another one",
            got=shown(reason),
            do="end only the stream that was cancelled",
        )
        assert len(made) == count, broken(
            "No frame is read after cancel().",
            given="an endless upload that is cancelled twice, and another one",
            got=f"{len(made) - count} frames more",
            do="look for cancel() before each frame, and wait in it for one that is being read",
        )

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
            assert a.upload(address, [[b"x"]]).wait(), broken(
                "An upload to nobody fails with a reason.",
                given="an upload to a closed node and to a text that is no address",
                got="success",
                do="call done with a reason where no connection can be made",
            )

    def test_an_upload_fails_when_the_peer_is_lost(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        released = threading.Event()
        b.handler.on_frame = lambda _header, _data: ignore(released.wait(DEADLINE))
        outcome = a.upload(b.address, ([bytes(MIB)] for _ in range(256)))
        eventually(lambda: 1 in b.handler.streams, "the stream is open")
        self.kill(b)
        assert outcome.wait(), broken(
            "An upload to a peer that is lost fails with a reason.",
            given="an upload to a node that is killed in the midst of it",
            got="success",
            do="call done with a reason where the connection breaks",
        )
        released.set()

    def test_done_is_called_once(self, node: Callable[[], Node]) -> None:
        a, b = node(), node()
        outcome = a.upload(b.address, [[b"x"]])
        outcome.wait()
        self.kill(b)
        a.say(b.address, "hello")
        eventually(lambda: a.handler.lost, "the peer is lost")
        assert outcome.reasons == [None], broken(
            "done() is called once for each upload.",
            given="an upload that ended well, to a node that is killed afterwards",
            got=shown(outcome.reasons),
            do="forget an upload once done() was called",
        )


def ignore(_result: object) -> None:
    """Drop a result, where a lambda must return nothing."""

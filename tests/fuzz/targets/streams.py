"""Streams of weights: frames in parts over gRPC, and data channels, with bytes in place of a connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import cast

from swarm.errors import DataChannelError, ExchangeError
from swarm.messages import StreamHeader
from swarm.transport.base import MAX_FRAME_BYTES, Buffer
from swarm.transport.data_channel.connection import Connection
from swarm.transport.data_channel.headers import Part, StreamStatus, frame_header, read_status, send_status
from swarm.transport.data_channel.reception import Reception
from swarm.transport.frames import FrameReader, JoiningSink
from swarm.transport.grpc.parts import Joining, parts
from swarm.transport.grpc.wire import decode, encode
from tests.fuzz import examples
from tests.fuzz.mutation import BINARY, in_parts, joined, split
from tests.fuzz.target import Target

MOST_FRAMES = 10
LARGE = 1 << 20
"""Bytes of a frame that is made by repeating a part of an input: more than go into one message."""


class Recording:
    """A connection that receives the bytes of an input, and keeps what is sent."""

    def __init__(self, data: bytes = b"") -> None:
        self.sent = bytearray()
        self._data = memoryview(data)

    @property
    def away(self) -> AbstractContextManager[None]:
        """Nobody breaks this connection."""
        return nullcontext()

    def require_trust(self) -> None:
        """The certificate at the other end counts."""

    def send(self, buffers: Iterable[Buffer]) -> None:
        """Keep the buffers."""
        self.sent += b"".join(buffers)

    def receive(self, size: int) -> bytes:
        """The next bytes; like ``receive_into``."""
        memory = bytearray(size)
        self.receive_into(memoryview(memory))
        return bytes(memory)

    def receive_into(self, memory: memoryview, progress: Callable[[int], None] | None = None) -> None:
        """Fill ``memory``, or end as a closed connection does."""
        if len(self._data) < len(memory):
            raise DataChannelError("the input has ended")
        memory[:] = self._data[: len(memory)]
        self._data = self._data[len(memory) :]
        if progress:
            progress(0)


class Frames:
    """Takes the frames of a stream, and keeps their sizes."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def sink(self, _header: StreamHeader | None = None) -> JoiningSink:
        """A sink of a stream."""
        return JoiningSink(self._take)

    def _take(self, frame: memoryview) -> None:
        assert len(frame) <= MAX_FRAME_BYTES
        self.sizes.append(len(frame))


def _joined(data: bytes) -> int:
    """The messages of a gRPC stream."""
    frames = Frames()
    joining = Joining(frames.sink())
    for message in split(data):
        joining.take(message)
    joining.end()
    return len(frames.sizes)


def _there_and_back(data: bytes) -> None:
    """Frames of any sizes, cut into messages and joined."""
    given = [
        part[1:] * (LARGE // len(part) if part[0] == 255 else part[0] % 8) for part in split(data)[:MOST_FRAMES] if part
    ]
    taken: list[bytes] = []
    joining = Joining(JoiningSink(lambda frame: taken.append(bytes(frame))))
    reader = FrameReader(([frame[:3], frame[3:]] for frame in given), parts)
    for message in reader:
        joining.take(message)
    joining.end()
    assert reader.failure is None
    assert taken == given


def _received(data: bytes) -> tuple[int, int]:
    """What the receiving end of a data channel reads once it has admitted the connection."""
    connection, frames = Recording(data), Frames()
    holder = examples.CHANNEL_REQUEST

    def read(header: bytes) -> StreamHeader:
        return decode(StreamHeader, header)

    try:
        Reception(cast("Connection", connection), holder, read, frames.sink).run()
    except DataChannelError:
        return len(frames.sizes), len(connection.sent)
    raise AssertionError("a data channel goes on after its connection has ended")


def _answered(data: bytes) -> StreamStatus:
    """The answer to a stream, as its sender reads it."""
    status, text = read_status(cast("Connection", Recording(data)))
    assert text.isprintable()
    return status


def _messages() -> Mapping[str, bytes]:
    def stream(*frames: bytes) -> bytes:
        return joined(*(message for frame in frames for message in parts([frame])))

    return {
        "one-frame": stream(bytes(range(40))),
        "small-frames": stream(b"", b"a", bytes(16), bytes(17)),
        "in-parts": joined(*_cut(b"".join(parts([bytes(100)])), 30)),
    }


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def _streams() -> Mapping[str, bytes]:
    header = encode(examples.HEADER)

    def stream(header: bytes, *frames: bytes) -> bytes:
        sent = [frame_header(Part.STREAM, len(header)), header]
        for frame in frames:
            sent += [frame_header(Part.FRAME, len(frame)), frame]
        return b"".join([*sent, frame_header(Part.END)])

    return {
        "one-stream": stream(header, bytes(range(40)), b"short", b""),
        "two-streams": stream(header, bytes(100)) + stream(header),
        "refused": stream(b"\xff", bytes(100)),
    }


def _statuses() -> Mapping[str, bytes]:
    found = {}
    for status, text in ((StreamStatus.TAKEN, ""), (StreamStatus.REFUSED, "no"), (StreamStatus.FAILED, "\u202eé")):
        connection = Recording()
        send_status(cast("Connection", connection), status, text)
        found[status.name.lower()] = bytes(connection.sent)
    return found


GROUP = [
    Target(name="parts", run=_joined, refusals=(ExchangeError,), values=_messages, form=in_parts(BINARY)),
    Target(
        name="frame-reader",
        run=_there_and_back,
        refusals=(),
        values=lambda: {"frames": joined(b"\x01abc", b"\x00", b"\xff" + bytes(range(100)))},
        form=in_parts(BINARY),
    ),
    Target(name="reception", run=_received, refusals=(), values=_streams, form=BINARY),
    Target(name="stream-status", run=_answered, refusals=(DataChannelError,), values=_statuses, form=BINARY),
]

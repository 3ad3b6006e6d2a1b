"""Frames in parts, a message each: over a slow link a whole one would look like silence for longer than peers wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm.errors import ExchangeError
from swarm.transport.base import HEAD_BYTES
from swarm.transport.frames import SIZE, checked, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swarm.transport.base import Frame, Sink

PART_BYTES = 1 << 19
"""Of a frame in one message: more costs patience, less costs processor time."""


def parts(frame: Frame) -> Iterator[bytes]:
    """The messages that carry a frame; its buffers are read one message at a time.

    Raises:
        ExchangeError: it is larger than a transport carries.
    """
    views = [memoryview(buffer).cast("B") for buffer in frame]
    message, room = [memoryview(SIZE.pack(size_of(views)))], PART_BYTES
    for view in views:
        start = 0
        while len(view) - start > room:
            yield b"".join([*message, view[start : start + room]])
            start, message, room = start + room, [], PART_BYTES
        message.append(view[start:])
        room -= len(view) - start
    yield b"".join(message)


class Joining:
    """Takes the messages of a stream, and gives a sink its frames."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._memory: memoryview | None = None
        """Of the frame that is not complete."""
        self._filled = 0

    def take(self, message: bytes | memoryview) -> None:
        """Take the next message.

        Raises:
            ExchangeError: it is no part of a frame, or the sink ends the stream.
        """
        part = memoryview(message)
        if self._memory is None:
            self._memory, part = self._begin(part)
        elif len(part) > len(self._memory) - self._filled:
            raise ExchangeError("a message holds more than what its frame lacks")
        filled = self._filled + len(part)
        self._memory[self._filled : filled] = part
        self._filled = filled
        if filled < len(self._memory):
            self._sink.progress(filled)
        else:
            self._memory = None
            self._sink.end()

    def end(self) -> None:
        """There are no more messages.

        Raises:
            ExchangeError: a frame is not complete.
        """
        if self._memory is not None:
            raise ExchangeError("the stream ended in the middle of a frame")

    def _begin(self, message: memoryview) -> tuple[memoryview, memoryview]:
        """Memory for a frame that begins with ``message``, and what of that goes there."""
        if len(message) < SIZE.size:
            raise ExchangeError(f"a message of {len(message)} bytes cannot begin a frame")
        size, part = checked(SIZE.unpack_from(message)[0]), message[SIZE.size :]
        head = part[: min(size, HEAD_BYTES)]
        if len(head) < min(size, HEAD_BYTES):
            raise ExchangeError(f"a message of {len(message)} bytes cannot begin a frame of {size} bytes")
        if len(part) > size:
            raise ExchangeError("a message holds more than its frame")
        self._filled = 0
        return self._sink.begin(head, size - len(head)), part[len(head) :]

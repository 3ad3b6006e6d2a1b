"""Frames in parts, a message each: over a slow link a whole one would look like silence for longer than peers wait."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from swarm.errors import ExchangeError
from swarm.transport.base import HEAD_BYTES, MAX_FRAME_BYTES, PlacingSink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swarm.transport.base import Frame, Sink

PART_BYTES = 1 << 19
"""Of a frame in one message: more costs patience, less costs processor time."""
_SIZE = struct.Struct("<I")
"""Bytes of a frame, ahead of its first part."""


def parts(frame: Frame) -> Iterator[bytes]:
    """The messages that carry a frame; its buffers are read one message at a time.

    Raises:
        ExchangeError: it is larger than a transport carries.
    """
    views = [memoryview(buffer).cast("B") for buffer in frame]
    size = sum(map(len, views))
    if size > MAX_FRAME_BYTES:
        raise ExchangeError(f"a frame of {size} bytes exceeds the limit of {MAX_FRAME_BYTES}")
    message, room = [memoryview(_SIZE.pack(size))], PART_BYTES
    for view in views:
        start = 0
        while len(view) - start > room:
            yield b"".join([*message, view[start : start + room]])
            start, message, room = start + room, [], PART_BYTES
        message.append(view[start:])
        room -= len(view) - start
    yield b"".join(message)


class Joining:
    """Takes the messages of a stream, and gives a sink its frames: received where they belong, or joined."""

    def __init__(self, sink: Sink | PlacingSink) -> None:
        self._sink = sink
        self._memory: memoryview | None = None
        """Of a frame that is not complete, or of all but its head where the sink gave a place."""
        self._placed = False
        self._filled = 0

    def take(self, message: bytes | memoryview) -> None:
        """Take the next message.

        Raises:
            ExchangeError: it is no part of a frame, or the sink ends the stream.
        """
        part = memoryview(message)
        if self._memory is None:
            if len(part) < _SIZE.size:
                raise ExchangeError(f"a message of {len(part)} bytes cannot begin a frame")
            size, part = _SIZE.unpack_from(part)[0], part[_SIZE.size :]
            if size > MAX_FRAME_BYTES:
                raise ExchangeError(f"a frame of {size} bytes exceeds the limit of {MAX_FRAME_BYTES}")
            if len(part) == size:
                self._sink(part)
                return
            self._memory, part = self._begin(size, part)
        self._fill(self._memory, part)

    def end(self) -> None:
        """There are no more messages.

        Raises:
            ExchangeError: a frame is not complete.
        """
        if self._memory is not None:
            raise ExchangeError("the stream ended in the middle of a frame")

    def _begin(self, size: int, part: memoryview) -> tuple[memoryview, memoryview]:
        """Memory for a frame that begins with ``part``, and what of that goes there."""
        self._placed, self._filled = False, 0
        if isinstance(self._sink, PlacingSink) and len(part) >= HEAD_BYTES:
            place = self._sink.place(part[:HEAD_BYTES], size - HEAD_BYTES)
            if place is not None:
                self._placed = True
                return place, part[HEAD_BYTES:]
        return memoryview(bytearray(size)), part

    def _fill(self, memory: memoryview, part: memoryview) -> None:
        filled = self._filled + len(part)
        if filled > len(memory):
            raise ExchangeError("a message holds more than what its frame lacks")
        memory[self._filled : filled] = part
        self._filled = filled
        if filled < len(memory):
            if isinstance(self._sink, PlacingSink):
                self._sink.progress()
            return
        self._memory = None
        if self._placed and isinstance(self._sink, PlacingSink):
            self._sink.placed()
        else:
            self._sink(memory)

"""Frames as both ends of a stream see them: their size, a sink that joins them, and the reader of an upload."""

from __future__ import annotations

import logging
import struct
import threading
from itertools import chain
from typing import TYPE_CHECKING, Self

from swarm.errors import ExchangeError
from swarm.transport.base import HEAD_BYTES, MAX_FRAME_BYTES, Sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swarm.transport.base import Frame

_log = logging.getLogger("swarm.transport")


SIZE = struct.Struct("<I")
"""Bytes of a frame, ahead of it: the one place where its size is stated."""


def checked(size: int) -> int:
    """The size of a frame.

    Raises:
        ExchangeError: it is larger than a transport carries.
    """
    if size > MAX_FRAME_BYTES:
        raise ExchangeError(f"a frame of {size} bytes exceeds the limit of {MAX_FRAME_BYTES}")
    return size


def size_of(frame: Frame) -> int:
    """Bytes of all buffers of ``frame``.

    Raises:
        ExchangeError: they are more than a transport carries.
    """
    size = 0
    for buffer in frame:
        size += buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)
    return checked(size)


def join(frame: Frame) -> bytes:
    """The buffers of ``frame``, joined; a lone ``bytes`` is not copied.

    Raises:
        ExchangeError: it is larger than a transport carries.
    """
    size_of(frame)
    return frame[0] if len(frame) == 1 and isinstance(frame[0], bytes) else b"".join(frame)


def deliver(frame: memoryview, sink: Sink) -> None:
    """Give a joined frame to a sink.

    Raises:
        ExchangeError: the sink ends the stream.
    """
    sink.begin(frame[:HEAD_BYTES], max(len(frame) - HEAD_BYTES, 0))[:] = frame[HEAD_BYTES:]
    sink.end()


class JoiningSink(Sink):
    """Gives ``take`` each frame as one run of bytes, in memory of its own."""

    def __init__(self, take: Callable[[memoryview], None]) -> None:
        self._take = take
        self._frame = memoryview(b"")

    def begin(self, head: memoryview, size: int) -> memoryview:
        self._frame = memoryview(bytearray(len(head) + size))
        self._frame[: len(head)] = head
        return self._frame[len(head) :]

    def end(self) -> None:
        self._take(self._frame)


def whole(frame: Frame) -> Iterator[bytes]:
    """A frame as one message."""
    yield join(frame)


class FrameReader:
    """Iterates over the messages that carry frames until these end, fail or are stopped; never raises.

    An upload that was cancelled does not read the sender's buffers after ``stop`` has returned.

    Args:
        frames: to be sent.
        cut: makes messages of a frame.
    """

    def __init__(self, frames: Iterator[Frame], cut: Callable[[Frame], Iterator[bytes]] = whole) -> None:
        self._messages: Iterator[bytes] = chain.from_iterable(map(cut, frames))
        self._reading = threading.RLock()
        self.halted = threading.Event()
        """Set when no further message may begin; a wait for ``max_mbit`` ends then."""
        self.failure: str | None = None
        """Why the frames ended early, where it was their own fault."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        with self._reading:
            if self.halted.is_set():
                raise StopIteration
            try:
                return next(self._messages)
            except StopIteration:
                raise
            except ExchangeError as error:
                self.failure = str(error)
            except Exception as error:  # noqa: BLE001 - told to the one who uploads
                _log.exception("the frames of an upload could not be read")
                self.failure = f"this peer could not read what it wanted to send: {error}"
            raise StopIteration

    def halt(self) -> None:
        """Begin no further message; one that is being read may go on."""
        self.halted.set()

    def stop(self) -> None:
        """Begin no further message, and wait for the one that is being read."""
        self.halted.set()
        with self._reading:
            self._messages = iter(())

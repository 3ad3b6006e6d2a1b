"""Takes the streams that come over one data channel to their sinks, one after the other."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from swarm.errors import DataChannelError, ExchangeError
from swarm.transport.base import HEAD_BYTES, MAX_FRAME_BYTES
from swarm.transport.data_channel.headers import (
    MAX_STREAM_BYTES,
    Part,
    StreamStatus,
    read_frame_header,
    send_status,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from swarm.messages import DataChannelRequest, StreamHeader
    from swarm.transport.base import Sink
    from swarm.transport.data_channel.connection import Connection

DRAINED_BYTES = 64 * 2**20
"""Of a stream that was refused, until its sender has noticed; more than a connection holds and one frame."""

_INSIDE = {Part.FRAME: MAX_FRAME_BYTES, Part.END: 0}
_log = logging.getLogger("swarm.transport")


class Reception:
    """The receiving end of a connection, used by one thread.

    Args:
        connection: admitted.
        holder: who asked for it; streams of others are refused.
        decode: reads a stream's header.
        open_sink: as of the handler.
    """

    def __init__(
        self,
        connection: Connection,
        holder: DataChannelRequest,
        decode: Callable[[bytes], StreamHeader],
        open_sink: Callable[[StreamHeader], Sink],
    ) -> None:
        self._connection = connection
        self._holder = holder
        self._decode = decode
        self._open_sink = open_sink
        self._memory = memoryview(bytearray(64 * 2**10))
        """For the first bytes of a frame, and for what is not wanted."""
        self._left = 0
        """Bytes of the current frame that were not received yet."""

    def run(self) -> None:
        """Take streams until the connection ends.

        Raises:
            DataChannelError: it ended.
            UntrustedPeerError: the peer at the other end is not trusted any more.
        """
        while True:
            _, size = read_frame_header(self._connection, {Part.STREAM: MAX_STREAM_BYTES})
            self._connection.require_trust()
            data = self._connection.receive(size)
            try:
                self._take(data)
                send_status(self._connection, StreamStatus.TAKEN)
            except DataChannelError:
                raise
            except ExchangeError as error:
                self._refuse(StreamStatus.REFUSED, str(error))
            except Exception:  # noqa: BLE001 - told to the sender
                _log.exception("a stream of weights could not be taken")
                self._refuse(StreamStatus.FAILED, "an unexpected error; its log tells more")

    def _take(self, data: bytes) -> None:
        header = self._decode(data)
        holder = self._holder
        if (header.session, header.sender, header.incarnation) != (holder.session, holder.sender, holder.incarnation):
            raise ExchangeError(f"this data channel is {holder.sender}'s in session {holder.session}")
        connection, head = self._connection, self._memory[:HEAD_BYTES]
        with connection.away:
            sink = self._open_sink(header)
        while self._next_frame():
            first = head[: min(self._left, HEAD_BYTES)]
            connection.receive_into(first)
            self._left -= len(first)
            with connection.away:
                memory = sink.begin(first, self._left)
            connection.receive_into(memory, sink.progress)
            self._left = 0
            with connection.away:
                sink.end()

    def _next_frame(self) -> bool:
        """Whether a frame follows, and not the end of the stream."""
        part, self._left = read_frame_header(self._connection, _INSIDE)
        return part is Part.FRAME

    def _refuse(self, status: StreamStatus, text: str) -> None:
        """Answer the stream, and drop the rest of it."""
        send_status(self._connection, status, text)
        dropped, more = 0, True
        while more:
            dropped += self._left
            if dropped > DRAINED_BYTES:
                raise DataChannelError("the sender goes on though it was refused")
            while self._left:
                part = self._memory[: self._left]
                self._connection.receive_into(part)
                self._left -= len(part)
            more = self._next_frame()

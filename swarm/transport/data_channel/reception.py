"""Takes the streams that come over one data channel to their sinks, one after the other."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from swarm.errors import ExchangeError
from swarm.transport.base import HEAD_BYTES, MAX_FRAME_BYTES, PlacingSink
from swarm.transport.data_channel.connection import DataChannelBroken
from swarm.transport.data_channel.headers import MAX_HEADER_BYTES, Mark, StreamStatus, read_mark, send_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swarm.messages import DataChannelRequest, StreamHeader
    from swarm.transport.base import Sink
    from swarm.transport.data_channel.connection import Connection

DRAINED_BYTES = 64 * 2**20
"""Of a stream that was refused, until its sender has noticed; more than a connection holds and one frame."""

FIRST_BYTES = 64 * 2**10
"""Of memory for frames that the sink gives no place to; it grows with them."""

_INSIDE = {Mark.FRAME: MAX_FRAME_BYTES, Mark.END: 0}
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
        self._memory = memoryview(bytearray(FIRST_BYTES))

    def run(self) -> None:
        """Take streams until the connection ends.

        Raises:
            LaneBroken: it ended.
        """
        while True:
            _, size = read_mark(self._connection, {Mark.HEADER: MAX_HEADER_BYTES})
            data = self._connection.receive(size)
            try:
                self._take(data)
                send_status(self._connection, StreamStatus.TAKEN)
            except DataChannelBroken:
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
        with self._connection.away:
            sink = self._open_sink(header)
        if isinstance(sink, PlacingSink):
            self._place_frames(sink)
            return
        for frame in self._frames():
            with self._connection.away:
                sink(frame)

    def _place_frames(self, sink: PlacingSink) -> None:
        head = memoryview(bytearray(HEAD_BYTES))
        for size in self._sizes():
            begin = head[: min(size, HEAD_BYTES)]
            self._connection.receive_into(begin)
            rest = size - len(begin)
            try:
                with self._connection.away:
                    place = sink.place(begin, rest) if rest else None
            except Exception:
                self._connection.receive_into(self._room(rest))
                raise
            if place is None:
                frame = self._room(size)
                frame[: len(begin)] = begin
                self._connection.receive_into(frame[len(begin) :], sink.progress)
                take: Callable[[], None] = partial(sink, frame)
            else:
                self._connection.receive_into(place, sink.progress)
                take = sink.placed
            with self._connection.away:
                take()

    def _frames(self) -> Iterator[memoryview]:
        for size in self._sizes():
            frame = self._room(size)
            self._connection.receive_into(frame)
            yield frame

    def _sizes(self) -> Iterator[int]:
        while (mark := read_mark(self._connection, _INSIDE))[0] is Mark.FRAME:
            yield mark[1]

    def _room(self, size: int) -> memoryview:
        if size > len(self._memory):
            self._memory = memoryview(bytearray(size))
        return self._memory[:size]

    def _refuse(self, status: StreamStatus, text: str) -> None:
        send_status(self._connection, status, text)
        left = DRAINED_BYTES
        for frame in self._frames():
            left -= len(frame)
            if left < 0:
                raise DataChannelBroken("the sender goes on though it was refused")

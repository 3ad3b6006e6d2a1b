"""The messages to one peer of this machine."""

from __future__ import annotations

import asyncio
import contextlib

from swarm.transport.base import MAX_MESSAGE_BYTES
from swarm.transport.local.connection import MESSAGES

MAX_QUEUED_BYTES = 4 * MAX_MESSAGE_BYTES
"""To one peer."""


class Link:
    """The messages to one peer. Used by one thread."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._queued = 0
        self._writer: asyncio.StreamWriter | None = None
        self._ended = False
        self._open = asyncio.Event()

    def write(self, data: bytes) -> bool:
        """Send ``data``, at once or when there is a connection; False if too much waits."""
        if self._writer is None:
            self._waiting.append(data)
            self._queued += len(data)
            return self._queued <= MAX_QUEUED_BYTES
        self._writer.write(data)
        return self._writer.transport.get_write_buffer_size() <= MAX_QUEUED_BYTES

    def opened(self, writer: asyncio.StreamWriter) -> None:
        """There is a connection."""
        self._writer = writer
        writer.writelines([MESSAGES, *self._waiting])
        self._waiting.clear()
        self._open.set()
        if self._ended:
            self.end()

    async def flushed(self) -> None:
        """Wait until everything is sent."""
        await self._open.wait()
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    def end(self) -> None:
        """Close the connection once what waits is sent."""
        self._ended = True
        if self._writer is not None:
            self._writer.close()

    def close(self) -> None:
        """Close the connection at once."""
        self._open.set()
        if self._writer is not None:
            self._writer.transport.abort()

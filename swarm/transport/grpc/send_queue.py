"""What waits to be sent to one address."""

from __future__ import annotations

import threading
from collections import deque
from typing import Self

from swarm.transport.base import MAX_MESSAGE_BYTES

MAX_QUEUED_BYTES = 4 * MAX_MESSAGE_BYTES
MAX_QUEUED_MESSAGES = 4096


class SendQueue:
    """A bounded queue of encoded messages, iterated by the stream that sends them."""

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._ended = False

    def put(self, data: bytes) -> bool:
        """Queue ``data``; False if there is no room."""
        with self._changed:
            if len(self._messages) >= MAX_QUEUED_MESSAGES or self._bytes + len(data) > MAX_QUEUED_BYTES:
                return False
            self._messages.append(data)
            self._bytes += len(data)
            self._changed.notify()
            return True

    def end(self) -> None:
        """Let the stream end after what is queued."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def drop(self) -> tuple[bytes, ...]:
        """Let the stream end at once; what was queued."""
        with self._changed:
            messages = tuple(self._messages)
            self._messages.clear()
            self._ended = True
            self._changed.notify_all()
            return messages

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._messages or self._ended)
            if not self._messages:
                raise StopIteration
            data = self._messages.popleft()
            self._bytes -= len(data)
            return data

"""A bounded pipe between two threads, which either end can break with a reason."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from swarm.clock import MonotonicClock
from swarm.errors import BrokenStreamError, UnreachablePeerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swarm.clock import Clock

SLOWEST = 2**15
"""Bytes per second of a download, on average: of eight at once over a link of 2 Mbit/s each gets about so much."""

T = TypeVar("T")


class Pipe(Generic[T]):
    """Holds at most ``size`` items."""

    def __init__(self, size: int) -> None:
        self._items: deque[T] = deque()
        self._size = size
        self._changed = threading.Condition()
        self._ended = False
        self._cause: Exception | None = None

    def put(self, item: T) -> None:
        """Add ``item``, waiting for room.

        Raises:
            BrokenStreamError: it broke before there was room.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._cause is not None or len(self._items) < self._size)
            if self._cause is not None:
                raise BrokenStreamError(self._cause)
            self._items.append(item)
            self._changed.notify_all()

    def end(self) -> None:
        """Say that no item follows."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def break_(self, cause: Exception) -> None:
        """Drop what is inside and wake both ends; the first cause stays."""
        with self._changed:
            self._cause = self._cause or cause
            self._items.clear()
            self._changed.notify_all()

    def items(self, timeout: float | None = None) -> Iterator[T]:
        """Take items until the end, waiting at most ``timeout`` seconds for each.

        Raises:
            BrokenStreamError: it broke.
            TimeoutError: nothing came in time.
        """
        while True:
            with self._changed:
                came = self._changed.wait_for(lambda: self._cause or self._items or self._ended, timeout)
                if self._cause is not None:
                    raise BrokenStreamError(self._cause)
                if not came:
                    raise TimeoutError
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item


def received(pipe: Pipe[bytes], address: str, timeout: float, clock: Clock | None = None) -> Iterator[memoryview]:
    """What ``address`` sends through ``pipe``, waiting at most ``timeout`` seconds for each item.

    All waits together are at most ``timeout`` longer than what came takes at ``SLOWEST``.

    Raises:
        UnreachablePeerError: nothing came in time, or too little.
        Exception: what the pipe was broken with.
    """
    clock = clock or MonotonicClock()
    waited, came, began = 0.0, 0, clock.now()
    try:
        for data in pipe.items(timeout):
            waited, came = waited + clock.now() - began, came + len(data)
            if waited > timeout + came / SLOWEST:
                raise UnreachablePeerError(f"{address} sends too slowly: {came} bytes in {waited:.0f} s")
            yield memoryview(data)
            began = clock.now()
    except BrokenStreamError as broken:
        raise broken.cause from None
    except TimeoutError:
        raise UnreachablePeerError(f"{address} sent nothing for {timeout:g} s") from None

"""How fast this peer may send weights: one limit for all streams of a process, by the time of day.

Messages are small, and not limited.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from swarm.clock import Clock, MonotonicClock
from swarm.config.rates import Rate
from swarm.errors import ExchangeError

PART_BYTES = 1 << 16
"""Sent at once: of streams that share the limit, none waits long for another one."""


def minute_of_the_day() -> int:
    """The local time, in minutes since midnight."""
    now = time.localtime()
    return now.tm_hour * 60 + now.tm_min


class Pacing:
    """Lets parts of weights go when they may. Safe for any thread.

    Args:
        rates: the first one that holds counts; where none does, there is no limit.
        clock: for seconds.
        minute: of the day.
        sleep: waits for some seconds, or until an event is set.
    """

    def __init__(
        self,
        rates: Sequence[Rate] = (),
        *,
        clock: Clock | None = None,
        minute: Callable[[], int] = minute_of_the_day,
        sleep: Callable[[float, threading.Event], object] = lambda seconds, cancelled: cancelled.wait(seconds),
    ) -> None:
        self._rates = tuple(rates)
        self._clock = clock or MonotonicClock()
        self._minute = minute
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free = 0.0
        """When what was let go so far is sent, at the limit."""

    @property
    def limited(self) -> bool:
        """Whether there is a limit at some time."""
        return bool(self._rates)

    def parts(
        self, buffers: Iterable[bytes | bytearray | memoryview], cancelled: threading.Event | None = None
    ) -> Iterator[memoryview]:
        """The buffers in parts, each when it may be sent. ``cancelled`` ends the wait of whoever iterates.

        Raises:
            ExchangeError: it was cancelled.
        """
        cancelled = cancelled or threading.Event()
        for buffer in buffers:
            view = memoryview(buffer).cast("B")
            for start in range(0, len(view), PART_BYTES):
                part = view[start : start + PART_BYTES]
                self._wait(len(part), cancelled)
                yield part

    def messages(self, messages: Iterator[bytes], cancelled: threading.Event | None = None) -> Iterator[bytes]:
        """The same of messages, of which any may be cut but the first bytes of each frame."""
        return (bytes(part) for part in self.parts(messages, cancelled)) if self.limited else messages

    def _wait(self, nbytes: int, cancelled: threading.Event) -> None:
        minute = self._minute()
        rate = next((rate for rate in self._rates if rate.holds(minute)), None)
        if rate is None:
            return
        with self._lock:
            # Who is cancelled takes no turn: the others would wait for it.
            if cancelled.is_set():
                raise ExchangeError("the stream was cancelled")
            now = self._clock.now()
            begins = max(now, self._free)
            self._free = begins + nbytes * 8 / (rate.mbit * 1e6)
        if begins > now:
            self._sleep(begins - now, cancelled)
            if cancelled.is_set():
                raise ExchangeError("the stream was cancelled while it waited for its turn (max_mbit)")

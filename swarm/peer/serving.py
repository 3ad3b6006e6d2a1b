"""Serves models to peers that fetch them, for as long as they read."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import TYPE_CHECKING, Self
from weakref import WeakSet

from swarm.errors import ExchangeError
from swarm.peer.deadlines import TIMEOUTS
from swarm.transport.pipe import SLOWEST

if TYPE_CHECKING:
    from swarm.clock import Clock
    from swarm.exchange.exchange import OutFrame
    from swarm.messages import FetchRequest
    from swarm.transport.base import Frame


class Downloads:
    """What other peers fetch from this one. A download that is not read keeps no model in memory for long.

    ``begin`` and the downloads themselves are used on threads of the transport, the rest on the worker's.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._running: WeakSet[Download] = WeakSet()

    def begin(self, request: FetchRequest, frames: Iterator[OutFrame]) -> Download:
        """Serve ``frames`` of the model that is asked for. What the same peer still fetches of another model ends."""
        download = Download(request, frames, self._clock)
        with self._lock:
            running = list(self._running)
            self._running.add(download)
        for other in running:
            if other.request.sender == request.sender and other.request.digest != request.digest:
                other.drop(f"{request.sender} fetches another model now")
        return download

    def check(self, now: float, timeout: float) -> None:
        """End the downloads that are read too slowly; ``timeout`` is ``failure_timeout``, in seconds."""
        with self._lock:
            running = list(self._running)
        for download in running:
            if now > download.began + TIMEOUTS * timeout + download.sent / SLOWEST:
                download.drop(f"{download.request.sender} reads it too slowly")


class Download:
    """The frames of one share of a model, copies of its values. Iterated on one thread at a time."""

    def __init__(self, request: FetchRequest, frames: Iterator[OutFrame], clock: Clock) -> None:
        self.request = request
        self.began = clock.now()
        self.sent = 0
        """Bytes that were read, and those of the frame that is being sent."""
        self._frames: Iterator[OutFrame] | None = frames
        self._reason = ""

    def drop(self, reason: str) -> None:
        """Serve no more of it, from any thread."""
        self._reason, self._frames = reason, None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Frame:
        frames = self._frames
        if frames is None:
            raise ExchangeError(f"the model is not served any more: {self._reason}")
        head, payload = next(frames)
        self.sent += len(head) + len(payload)
        return head, bytes(payload)  # a view would keep the whole model in memory

"""Nodes to test a transport with: a handler that keeps what it is told, and waits that end."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from swarm.errors import ExchangeError
from swarm.messages import Envelope, FetchRequest, Leave, StreamHeader
from swarm.records import Attempt
from swarm.transport.base import Handler, Sink
from swarm.transport.frames import JoiningSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from swarm.transport.base import Frame, Transport

DEADLINE = 20.0
"""Seconds until a wait counts as a hang."""
QUIET = 0.25
"""Seconds without a change after which something counts as settled."""


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until ``condition`` holds, for at most ``DEADLINE`` seconds."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.002)


def settled(value: Callable[[], int]) -> int:
    """What ``value`` stays at for ``QUIET`` seconds."""
    last, since = value(), time.monotonic()
    deadline = since + DEADLINE
    while time.monotonic() - since < QUIET:
        assert time.monotonic() < deadline, "it does not come to rest"
        if (now := value()) != last:
            last, since = now, time.monotonic()
        time.sleep(0.01)
    return last


class RecordingHandler(Handler):
    """Keeps what it is told; what it serves and takes can be set."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.lost: list[tuple[str, str]] = []
        self.streams: dict[int, list[bytes]] = {}
        self.refusal: str | None = None
        self.sink: Sink | None = None
        """Takes all streams, which are not kept then."""
        self.on_frame: Callable[[StreamHeader, bytes], None] = lambda _header, _data: None
        self.served: Callable[[], Iterable[Frame]] = lambda: ()

    def on_envelope(self, envelope: Envelope) -> None:
        assert isinstance(envelope.message, Leave)
        self.texts.append(envelope.message.reason)

    def on_lost(self, address: str, reason: str) -> None:
        self.lost.append((address, reason))

    def open_sink(self, header: StreamHeader) -> Sink:
        if self.refusal is not None:
            raise ExchangeError(self.refusal)
        if self.sink is not None:
            return self.sink
        frames = self.streams.setdefault(header.round, [])

        def take(data: memoryview) -> None:
            self.on_frame(header, bytes(data))
            frames.append(bytes(data))

        return JoiningSink(take)

    def serve(self, request: FetchRequest) -> Iterable[Frame]:
        if request.digest != "held":
            raise ExchangeError(f"this peer does not hold {request.digest!r}")
        return self.served()

    def status(self) -> dict[str, Any]:
        return {"name": "recorder", "received": len(self.texts)}


class RecordingSink(Sink):
    """Keeps frames whole, and what was asked of it; refuses those that begin with ``R``."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        """Whole frames, head included."""
        self.sizes: list[tuple[int, int]] = []
        """Bytes of the head and of the rest of each frame that began."""
        self.progresses = 0
        self.filled: list[int] = []
        """Bytes of a frame that were said to be here."""
        self.progressed = threading.Event()
        self._head = b""
        self._rest = bytearray()

    def begin(self, head: memoryview, size: int) -> memoryview:
        self.sizes.append((len(head), size))
        if bytes(head[:1]) == b"R":
            raise ExchangeError("no room")
        self._head, self._rest = bytes(head), bytearray(size)
        return memoryview(self._rest)

    def progress(self, filled: int = 0) -> None:
        self.progresses += 1
        self.filled.append(filled)
        self.progressed.set()

    def end(self) -> None:
        self.taken.append(self._head + self._rest)


class Node:
    """A started transport and what it was told."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.handler = RecordingHandler()
        self.address = transport.start(self.handler)

    def say(self, address: str, text: str) -> None:
        """Send a message that carries ``text``."""
        self.transport.send(address, envelope(text))

    def upload(self, address: str, frames: Iterable[Frame], *, number: int = 1) -> Outcome:
        """Begin a stream whose frames the other side files under ``number``."""
        outcome = Outcome()
        header = StreamHeader("session", "sender", "incarnation", "lineage", number, Attempt(1, "sender"))
        outcome.upload = self.transport.upload(address, header, iter(frames), outcome.done)
        return outcome

    def fetch(self, address: str, digest: str = "held", timeout: float = DEADLINE) -> list[bytes]:
        """Everything that ``address`` serves."""
        request = FetchRequest("session", "sender", digest)
        return [bytes(frame) for frame in self.transport.fetch(address, request, timeout)]


class Outcome:
    """How an upload ends."""

    def __init__(self) -> None:
        self.reasons: list[str | None] = []
        self.upload: Any = None

    def done(self, reason: str | None) -> None:
        """Take the end of the upload."""
        self.reasons.append(reason)

    def wait(self) -> str | None:
        """Why it failed, None where it did not."""
        eventually(lambda: self.reasons, "the upload ends")
        return self.reasons[0]


def envelope(text: str) -> Envelope:
    """A message that carries ``text``."""
    return Envelope("session", "sender", "incarnation", "address", Leave(text))

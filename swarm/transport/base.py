"""How messages and weights travel: the interface that every transport implements.

A transport knows addresses, not peers. Control messages are small and ordered per address; weights travel as streams
of frames, each a sequence of buffers that the transport may gather without joining. Calls into a
:class:`Handler` come from threads of the transport.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from swarm.identity import Identity
    from swarm.messages import Envelope, FetchRequest, StreamHeader

Buffer = bytes | bytearray | memoryview
Frame = Sequence[Buffer]
"""Buffers whose bytes, one after the other, are at most ``MAX_FRAME_BYTES``."""
MAX_FRAME_BYTES = 8 * 2**20
MAX_MESSAGE_BYTES = 4 * 2**20
"""Of an encoded envelope: room for the greeting of a model of 32,768 tensors."""
HEAD_BYTES = 16
"""Of a frame, by which a :class:`Sink` tells where the rest goes."""


class Way(enum.StrEnum):
    """How a peer is reached."""

    DIRECT = "direct"
    REVERSE = "reverse"
    """Over connections that it opens, since nobody can connect to it."""
    RELAY = "relay"
    """Over a relay, since neither side can connect to the other."""


class Sink(ABC):
    """Takes the frames of one incoming stream, one after the other: ``begin``, any number of ``progress``, ``end``.

    The rest of a frame is received straight into memory of the sink. ``begin`` and ``end`` may block to slow the sender
    down, and raise ``ExchangeError`` to end the stream; after an error nothing more is called.
    """

    @abstractmethod
    def begin(self, head: memoryview, size: int) -> memoryview:
        """Memory for the ``size`` bytes of a frame that follow its ``head``; ``size`` may be 0.

        ``head`` is the first ``HEAD_BYTES`` of the frame, or all of a shorter one; it is valid during the call only.

        Raises:
            ExchangeError: to end the stream.
        """

    def progress(self, filled: int = 0) -> None:  # noqa: B027 - few sinks need it
        """More of the frame has come, not all: ``filled`` bytes of its memory. Returns at once; nothing by default."""

    @abstractmethod
    def end(self) -> None:
        """The memory is filled: the frame is complete.

        Raises:
            ExchangeError: to end the stream.
        """


class Handler(ABC):
    """What a transport calls on the side of the session."""

    @abstractmethod
    def on_envelope(self, envelope: Envelope) -> None:
        """A message has arrived. Returns at once."""

    @abstractmethod
    def on_lost(self, address: str, reason: str) -> None:
        """Nothing more can be sent to ``address``: the link broke or could not be made. Returns at once."""

    @abstractmethod
    def open_sink(self, header: StreamHeader) -> Sink:
        """Where the frames of this incoming stream go.

        Raises:
            ExchangeError: this peer takes no such stream.
        """

    @abstractmethod
    def serve(self, request: FetchRequest) -> Iterable[Frame]:
        """The frames of a model: the committed one, or one that may still be committed.

        Raises:
            ExchangeError: this peer does not hold it.
        """

    @abstractmethod
    def status(self) -> dict[str, Any]:
        """What ``swarm status`` shows of this peer; JSON types only."""


class Upload(ABC):
    """An outgoing stream of weights."""

    @abstractmethod
    def cancel(self) -> None:
        """Stop it; idempotent. The frames' iterator is not read any more once this returns.

        Waits for a frame that is being read, so an iterator that waits for data has to be woken first.
        """


class NoUpload(Upload):
    """An upload that could not begin."""

    def cancel(self) -> None:
        pass


class Transport(ABC):
    """Carries envelopes and streams between addresses."""

    @property
    def identity(self) -> Identity | None:
        """Who this peer is to the others, where the transport proves it by a certificate; None where it does not.

        With an identity, addresses that others are told begin with the peer's name (``name@``).
        """
        return None

    @abstractmethod
    def start(self, handler: Handler) -> str:
        """Listen, and return the address under which others reach this peer.

        Raises:
            AddressError: the address cannot be listened on.
        """

    @abstractmethod
    def send(self, address: str, envelope: Envelope) -> None:
        """Queue ``envelope``; never blocks and never raises. Failure comes as ``Handler.on_lost``."""

    @abstractmethod
    def upload(
        self, address: str, header: StreamHeader, frames: Iterator[Frame], done: Callable[[str | None], None]
    ) -> Upload:
        """Send ``frames`` in the background, calling ``done`` once with None or the reason of the failure.

        None says that the peer's sink has taken every frame. A failure may be told while a frame is still being
        read; ``cancel`` waits for it. After ``cancel`` or ``close`` there is no call any more.
        """

    @abstractmethod
    def fetch(self, address: str, request: FetchRequest, timeout: float) -> Iterator[memoryview]:
        """Frames of a model, joined, as the peer serves them; ``timeout`` bounds the wait for each.

        Raises:
            UnreachablePeerError: the peer is gone or silent.
            ExchangeError: the peer does not hold it.
        """

    @abstractmethod
    def forget(self, address: str) -> None:
        """Close the link to ``address`` without a report of its loss."""

    def way(self, address: str) -> Way | None:
        """How the peer at ``address`` is reached now; None where there is no connection, or that is not known."""
        return None

    @abstractmethod
    def close(self, linger: float = 1.0) -> None:
        """Send what is queued for at most ``linger`` seconds, then stop listening. Idempotent.

        Others lose this address; the handler is told of no loss any more.
        """

"""Entry point for what other peers send: called on threads of the transport."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from swarm.errors import ExchangeError
from swarm.exchange.whole import model_frames
from swarm.messages import Envelope, FetchRequest, StreamHeader
from swarm.transport.base import Frame, Handler, Sink

if TYPE_CHECKING:
    from swarm.peer.worker import Worker
    from swarm.tensors.state import ModelState


class Recipient(Protocol):
    """Handles what other peers send."""

    def receive(self, envelope: Envelope) -> None:
        """Handle a message; on the worker's thread."""
        ...

    def lost(self, address: str, reason: str) -> None:
        """Nothing reaches ``address`` any more; on the worker's thread."""
        ...

    def open_sink(self, header: StreamHeader) -> Sink:
        """A sink for an incoming stream of weights."""
        ...

    def requested(self, request: FetchRequest) -> ModelState:
        """The model that another peer requests."""
        ...

    def status(self) -> dict[str, Any]:
        """What ``swarm status`` shows."""
        ...


class Inbox(Handler):
    """Posts messages to the worker, which handles them after its start; refuses streams until there is a recipient."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._recipient: Recipient | None = None

    def open(self, recipient: Recipient) -> None:
        """From now on, ``recipient`` handles what arrives."""
        self._recipient = recipient

    def on_envelope(self, envelope: Envelope) -> None:
        self._worker.post(lambda: self._opened().receive(envelope))

    def on_lost(self, address: str, reason: str) -> None:
        self._worker.post(lambda: self._opened().lost(address, reason))

    def open_sink(self, header: StreamHeader) -> Sink:
        return self._opened().open_sink(header)

    def serve(self, request: FetchRequest) -> Iterable[Frame]:
        return model_frames(self._opened().requested(request), request.part, request.parts)

    def status(self) -> dict[str, Any]:
        return self._recipient.status() if self._recipient else {"status": "starting"}

    def _opened(self) -> Recipient:
        if self._recipient is None:
            raise ExchangeError("this peer is still starting")
        return self._recipient

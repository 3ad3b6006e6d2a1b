"""Where the transport knocks: everything that other peers want of a session comes through here, on foreign threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from swarm.errors import ExchangeError
from swarm.exchange.whole import model_frames
from swarm.messages import Envelope, FetchRequest, StreamHeader
from swarm.transport.base import Frame, Handler, Sink

if TYPE_CHECKING:
    from swarm.peer.engine import Engine
    from swarm.peer.worker import Worker


class Inbox(Handler):
    """Hands messages to the worker, and streams to the exchange; what comes before it is open waits or is refused."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._engine: Engine | None = None

    def open(self, engine: Engine) -> None:
        """The session is complete: let others in."""
        self._engine = engine

    def on_envelope(self, envelope: Envelope) -> None:
        """Hand a message to the worker."""
        self._post(lambda engine: engine.receive(envelope))

    def on_lost(self, address: str, reason: str) -> None:
        """Tell the worker that an address cannot be reached."""
        self._post(lambda engine: engine.peers.lost(address, reason))

    def open_sink(self, header: StreamHeader) -> Sink:
        """Where an incoming stream of weights goes."""
        return self._opened().exchanger.sink(header)

    def serve(self, request: FetchRequest) -> Iterable[Frame]:
        """The last committed model, or one that is not decided yet, to a peer that knows its digest."""
        return model_frames(self._opened().models.requested(request), request.part, request.parts)

    def status(self) -> dict[str, Any]:
        """What ``swarm status`` shows."""
        return self._engine.standing.describe() if self._engine else {"status": "starting"}

    def _post(self, work: Callable[[Engine], None]) -> None:
        def knock() -> None:
            if self._engine:
                work(self._engine)

        self._worker.post(knock)

    def _opened(self) -> Engine:
        if self._engine is None:
            raise ExchangeError("this peer is still starting")
        return self._engine

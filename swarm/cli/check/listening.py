"""Listens as a peer would, so that others can be asked whether they can connect to this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from swarm.addresses import Address
from swarm.errors import ExchangeError, SwarmError
from swarm.transport.base import Handler

if TYPE_CHECKING:
    from collections.abc import Callable

    from swarm.config import Settings
    from swarm.messages import Envelope, FetchRequest, StreamHeader
    from swarm.transport.base import Frame, Sink

ANSWER_SECONDS = 10.0
"""For the answer of a peer, which has five seconds to connect."""


class Nobody(Handler):
    """Takes part in nothing."""

    def on_envelope(self, envelope: Envelope) -> None:
        pass

    def on_lost(self, address: str, reason: str) -> None:
        pass

    def open_sink(self, header: StreamHeader) -> Sink:
        raise ExchangeError("this is no peer: it only looks whether it can be reached")

    def serve(self, request: FetchRequest) -> Iterable[Frame]:
        raise ExchangeError("this is no peer: it only looks whether it can be reached")

    def status(self) -> dict[str, Any]:
        return {}


@contextmanager
def listening(settings: Settings) -> Iterator[Callable[[str], str] | None]:
    """Why the peer at an address cannot connect to this machine, as that peer says; empty if it can.

    None where that cannot be asked: on a loopback address, where the port is taken, or over another transport.
    """
    if settings.transport != "grpc" or Address.parse(settings.listen).is_loopback:
        yield None
        return
    from swarm.plugins import PluginRegistry
    from swarm.transport.grpc import GrpcTransport

    transport = PluginRegistry().transport(settings.transport)(settings)
    try:
        if not isinstance(transport, GrpcTransport):
            yield None
            return
        try:
            transport.start(Nobody())
        except SwarmError:  # the line about the port says why
            yield None
            return
        yield lambda address: transport.reached_from(address, ANSWER_SECONDS)
    finally:
        transport.close(0.0)

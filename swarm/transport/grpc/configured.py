"""The transport that the settings of a peer ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm.config.rates import Rate
from swarm.identity import identity_at
from swarm.proxy import Proxies
from swarm.transport.grpc.transport import GrpcTransport
from swarm.transport.pacing import Pacing

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.transport.relay import Relay


def of_settings(settings: Settings, relay: Relay | None = None) -> GrpcTransport:
    """A transport that has not started.

    Args:
        settings: of the peer.
        relay: the way to peers that cannot be connected to.

    Raises:
        IdentityError: the identity cannot be used.
    """
    identity = identity_at(settings.identity) if settings.identity else None
    return GrpcTransport(
        settings.listen,
        advertise=settings.advertise,
        peers=(*settings.peers, *(identity.others if identity else ())),
        failure_timeout=settings.failure_timeout,
        identity=identity,
        proxies=Proxies(settings.proxy),
        pacing=Pacing([Rate.parse(text) for text in settings.max_mbit]),
        relay=relay,
    )

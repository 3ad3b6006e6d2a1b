"""The hooks. nats-py is imported when a session chooses the transport or the discovery."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from swarm import hookimpl
from swarm.errors import ConfigurationError
from swarm_nats.settings import HubSettings

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.discovery import Discovery
    from swarm.identity import Identity
    from swarm.plugins import Register
    from swarm.transport import Transport


@hookimpl
def swarm_register(register: Register) -> None:
    """Add the transports and the discovery."""
    register.transport("nats", _transport)
    register.transport("grpc-nats", _beside)
    register.discovery("nats", _discovery)


def _transport(settings: Settings) -> Transport:
    from swarm.config import Rate
    from swarm.transport import Pacing
    from swarm_nats.transport import NatsTransport

    hub, identity = _hub(settings), _identity(settings)
    return NatsTransport(
        hub,
        failure_timeout=settings.failure_timeout,
        identity=identity,
        pacing=Pacing([Rate.parse(text) for text in settings.max_mbit]),
        data_channel=settings.data_channel,
    )


def _beside(settings: Settings) -> Transport:
    from swarm.transport import grpc_transport
    from swarm_nats.relay import NatsRelay

    identity = _identity(settings)
    relay = NatsRelay(_hub(settings), settings.failure_timeout, named=identity is not None)
    return grpc_transport(settings, relay)


def _hub(settings: Settings) -> HubSettings:
    """The hub of the environment.

    Raises:
        ConfigurationError: it is not given, or would see what is not encrypted.
    """
    from swarm.addresses import is_loopback

    hub = _given(settings)
    if settings.identity is None and not settings.insecure and not all(map(is_loopback, hub.hosts)):
        raise ConfigurationError(
            f"the hub at {hub.shown} would see all weights, and this peer has no identity to encrypt them with: get "
            "one (`swarm init`, or `swarm join` with an invitation), or set insecure=true on a network that you trust"
        )
    return hub


def _identity(settings: Settings) -> Identity | None:
    from swarm.identity import identity_at

    return identity_at(settings.identity) if settings.identity else None


def _discovery(settings: Settings) -> Discovery:
    from swarm_nats.discovery import NatsDiscovery

    return NatsDiscovery(_given(settings), settings.model_name, patience=settings.failure_timeout)


def _given(settings: Settings) -> HubSettings:
    from swarm.transport import Proxies

    return HubSettings.from_environment(os.environ, Proxies(settings.proxy))

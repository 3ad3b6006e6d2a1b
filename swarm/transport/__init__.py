"""How messages and weights travel between peers.

To add a transport, subclass ``Transport``, register it through the ``swarm_register`` hook, and run the contract test
``swarm.testing.TransportContract`` on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm.proxy import Proxies
from swarm.transport.base import (
    HEAD_BYTES,
    MAX_FRAME_BYTES,
    MAX_MESSAGE_BYTES,
    Frame,
    Handler,
    NoUpload,
    Sink,
    Transport,
    Upload,
    Way,
)
from swarm.transport.pacing import Pacing
from swarm.transport.relay import Relay

if TYPE_CHECKING:
    from swarm.transport.data_channel import DataChannelTransport
    from swarm.transport.data_channel.control import DataChannels
    from swarm.transport.grpc import GrpcTransport
    from swarm.transport.grpc import of_settings as grpc_transport

__all__ = [
    "HEAD_BYTES",
    "MAX_FRAME_BYTES",
    "MAX_MESSAGE_BYTES",
    "DataChannelTransport",
    "DataChannels",
    "Frame",
    "GrpcTransport",
    "Handler",
    "NoUpload",
    "Pacing",
    "Proxies",
    "Relay",
    "Sink",
    "Transport",
    "Upload",
    "Way",
    "grpc_transport",
]


def __getattr__(name: str) -> object:
    """Load what connects on first use: most processes that import this package never connect."""
    if name in ("DataChannelTransport", "DataChannels"):
        from swarm.transport import data_channel

        return getattr(data_channel, name)
    if name not in ("GrpcTransport", "grpc_transport"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from swarm.transport import grpc

    return grpc.GrpcTransport if name == "GrpcTransport" else grpc.of_settings

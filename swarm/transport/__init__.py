"""How messages and weights travel between peers.

To add a transport, subclass ``Transport``, register it through the ``swarm_register`` hook, and run the contract test
``swarm.testing.TransportContract`` on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
)
from swarm.transport.pacing import Pacing

if TYPE_CHECKING:
    from swarm.transport.grpc import GrpcTransport

__all__ = [
    "HEAD_BYTES",
    "MAX_FRAME_BYTES",
    "MAX_MESSAGE_BYTES",
    "Frame",
    "GrpcTransport",
    "Handler",
    "NoUpload",
    "Pacing",
    "Sink",
    "Transport",
    "Upload",
]


def __getattr__(name: str) -> object:
    """Load gRPC on first use: most processes that import this package never connect."""
    if name != "GrpcTransport":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from swarm.transport.grpc import GrpcTransport

    return GrpcTransport

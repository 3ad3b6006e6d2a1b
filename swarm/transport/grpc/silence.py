"""For how long the peer at the other end of a connection has sent nothing, as the system's TCP knows it.

A peer that has opened the connections over which it is called sends gRPC's pings on them, which its core does without
Python's lock. They do not come up to Python here, but the system counts them.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from swarm.transport.grpc.connection_limit import connections

if TYPE_CHECKING:
    from collections.abc import Collection

    from swarm.transport.grpc.connection_limit import Place

_SINCE_DATA = struct.Struct("@52xI")
"""Of Linux's ``tcp_info``: the milliseconds since data came."""


def seconds_of_silence(port: int, places: Collection[Place]) -> float:
    """Since something came on any of the connections to ``port`` from ``places``; 0 where the system does not tell."""
    found = []
    for connection in connections(port, places):
        with suppress(OSError, AttributeError, struct.error):
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            found.append(_SINCE_DATA.unpack_from(info)[0] / 1000)
    return min(found, default=0.0)

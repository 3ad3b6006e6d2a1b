"""For how long the peer at the other end of a connection has sent nothing, as the system's TCP knows it.

A peer that has opened the connections over which it is called sends gRPC's pings on them, which its core does without
Python's lock. They do not come up to Python here, but the system counts them.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from swarm.transport.grpc.connection_limit import connections

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from swarm.clock import Clock
    from swarm.transport.grpc.connection_limit import Place

_SINCE_DATA = struct.Struct("@52xI")
"""Of Linux's ``tcp_info``: the milliseconds since data came."""


LOOK_SECONDS = 0.9
"""For which what was found is used again: one look a second is enough for all who ask once a second."""


class Silence:
    """Measures it for the connections that came to one port of this process.

    Args:
        port: that this peer listens on.
        clock: for how long it was not looked.
    """

    def __init__(self, port: int, clock: Clock) -> None:
        self._port = port
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self._found: dict[Place, float] = {}

    def seconds(self, places: Collection[Place]) -> float:
        """Since something came on any of the connections from ``places``; 0 where the system does not tell."""
        with self._lock:
            if self._clock.now() >= self._looked + LOOK_SECONDS:
                self._looked, self._found = self._clock.now(), dict(self._look())
            return min((self._found[place] for place in places if place in self._found), default=0.0)

    def _look(self) -> Iterator[tuple[Place, float]]:
        for connection, place in connections(self._port):
            with suppress(OSError, AttributeError, struct.error):  # AttributeError: systems other than Linux
                info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
                yield place, _SINCE_DATA.unpack_from(info)[0] / 1000

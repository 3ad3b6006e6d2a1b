"""Ends connections of an address that has many and calls on none of them, before they take all that there may be.

gRPC bounds connections in all, not those of one address: an outsider would keep members out that connect anew.
"""

from __future__ import annotations

import os
import socket
import stat
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from swarm.addresses import block_of, ip_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

Place = tuple[str, int]
"""The IP address and the port at the other end of a connection."""
MAX_OF_AN_ADDRESS = 16
"""Connections without a call that one address, or one /64 of IPv6, keeps when many are open."""
_DESCRIPTORS = Path("/proc/self/fd")


def surplus(strangers: Iterable[Place], connections: int, most: int) -> set[Place]:
    """Which connections to end: none while fewer than half of ``most`` are open.

    Args:
        strangers: connections from which no call has come, the newest first.
        connections: that are open, with those of members.
        most: that may be open.
    """
    if connections < most / 2:
        return set()
    of_blocks: dict[str, list[Place]] = defaultdict(list)
    for place in strangers:
        of_blocks[block_of(place[0])].append(place)
    return {place for places in of_blocks.values() for place in places[MAX_OF_AN_ADDRESS:]}


def usual_form(host: str) -> str:
    """One spelling of an IP address: that of IPv4 where an IPv6 socket has such a connection, and without a scope."""
    return str(ip_of(host.partition("%")[0]))


def end(port: int, places: Collection[Place]) -> None:
    """Shut down the connections of this process that came to ``port`` from ``places``; gRPC then closes them."""
    for connection, place in connections(port):
        if place in places:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def connections(port: int) -> Iterator[tuple[socket.socket, Place]]:
    """The connections of this process that came to ``port``, and from where; each only until the next is asked for.

    They are copies: gRPC may close its own at any time, and another thread get the number.
    """
    with suppress(OSError):
        for name in os.listdir(_DESCRIPTORS):  # noqa: PTH208 - numbers, not paths
            with suppress(OSError):  # closed meanwhile
                if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                    continue
                with socket.socket(fileno=os.dup(int(name))) as copy:
                    if copy.family not in (socket.AF_INET, socket.AF_INET6) or copy.getsockname()[1] != port:
                        continue
                    host, other = copy.getpeername()[:2]
                    yield copy, (usual_form(host), other)

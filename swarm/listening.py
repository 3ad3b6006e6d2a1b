"""Sockets that listen, of IPv4 and of IPv6."""

from __future__ import annotations

import socket


def listening(host: str, port: int, backlog: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: a name, an IP address or a wildcard; ``::`` is also that of IPv4 where the system can.
        port: 0 takes a free one.
        backlog: connections that may wait to be accepted.

    Raises:
        OSError: it cannot listen there.
    """
    family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    both = host == "::" and socket.has_dualstack_ipv6()
    return socket.create_server(place[:2], family=family, backlog=backlog, dualstack_ipv6=both)

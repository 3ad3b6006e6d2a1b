"""Which address of this machine others can reach, for a peer that listens on all of them."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Sequence
from contextlib import suppress

from swarm import addresses
from swarm.errors import AddressError

_log = logging.getLogger("swarm.transport")
_ELSEWHERE = ("[2001:db8::1]:9", "192.0.2.1:9")
"""Addresses for documentation: nobody has them, and the default route leads there."""
_WHAT_TO_DO = "set advertise to the host, or host:port, at which others reach this peer (or SWARM_ADVERTISE)"


def reachable_host(wildcard: str, peers: Sequence[str]) -> str:
    """The address that a peer which listens on ``wildcard`` tells others. No packet is sent to find it.

    It is the one from which this machine reaches ``peers``. Where these are on this machine, or there are none, it is
    that of the default route, else the only one of the machine's name.

    Raises:
        AddressError: there is none, or more than one.
    """
    ip = addresses.ip_of(wildcard)
    family = socket.AF_INET if ip and ip.version == 4 else socket.AF_UNSPEC  # a socket on [::] takes IPv4 as well
    routes = _sources(peers, family)
    outward = {ip for ip in routes if not ip.is_loopback}
    found = outward or set(_sources(_ELSEWHERE, family)[:1]) or _of_this_host(family) or set(routes)
    shown = addresses.join(wildcard, None)
    if len(found) == 1:
        host = str(found.pop())
        _log.info("listen=%s: others are told to reach this peer at %s; advertise changes that", shown, host)
        return host
    several = f" ({', '.join(map(str, sorted(found, key=int)))})" if found else ""
    which = "it is not clear at which one the others can reach it" if found else "it has none that others can reach"
    raise AddressError(
        f"listen={shown} takes connections at all addresses of this machine{several}, and {which}: {_WHAT_TO_DO}"
    )


def _sources(places: Sequence[str], family: int) -> list[addresses.IP]:
    """The address from which this machine reaches each of ``places``, if its name is known and a route leads there."""
    return [source for place in places if (source := _source(place, family))]


def _source(place: str, family: int) -> addresses.IP | None:
    with suppress(OSError, ValueError):
        found = addresses.Address.parse(place)
        for kind, _, _, _, target in socket.getaddrinfo(found.host, found.port, family, socket.SOCK_DGRAM):
            with suppress(OSError), socket.socket(kind, socket.SOCK_DGRAM) as probe:
                probe.connect(target)
                ip = ipaddress.ip_address(probe.getsockname()[0])
                if not ip.is_link_local:
                    return ip
    return None


def _of_this_host(family: int) -> set[addresses.IP]:
    """Addresses of this machine's name that others may reach."""
    with suppress(OSError, ValueError):
        places = socket.getaddrinfo(socket.gethostname(), None, family, socket.SOCK_DGRAM)
        found = {ipaddress.ip_address(str(place[0])) for *_, place in places}
        return {ip for ip in found if not (ip.is_loopback or ip.is_link_local)}
    return set()

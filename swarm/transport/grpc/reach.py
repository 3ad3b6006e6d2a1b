"""Which address of this machine others can reach, for a peer that listens on all of them."""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from swarm.config import addresses
from swarm.errors import AddressError

_IP = ipaddress.IPv4Address | ipaddress.IPv6Address
_WHAT_TO_DO = "set advertise to the host, or host:port, at which others reach this peer (or SWARM_ADVERTISE)"


def reachable_host(wildcard: str, peers: Sequence[str]) -> str:
    """The address that a peer which listens on ``wildcard`` tells others. No packet is sent to find it.

    It is the one from which this machine reaches ``peers``. Where these are on this machine, or there are none, peers
    of other machines may come as well: then it is the only address that is no loopback one.

    Raises:
        AddressError: there is none, or more than one.
    """
    version = ipaddress.ip_address(wildcard).version
    shown = f"[{wildcard}]" if version == 6 else wildcard
    routes = {source for peer in peers if (source := _source(peer, version))}
    found = {ip for ip in routes if not ip.is_loopback} or own_addresses(version)
    if not found and version == 6:
        found = own_addresses(4)  # a socket on [::] takes IPv4 as well
    found = found or routes
    if len(found) == 1:
        return str(found.pop())
    if not found:
        raise AddressError(
            f"listen={shown} takes connections at all addresses of this machine, and it has none that others can "
            f"reach: {_WHAT_TO_DO}"
        )
    listed = ", ".join(map(str, sorted(found, key=int)))
    raise AddressError(
        f"listen={shown} takes connections at all addresses of this machine ({listed}), and it is not clear at which "
        f"one the others can reach it: {_WHAT_TO_DO}"
    )


def _source(peer: str, version: int) -> _IP | None:
    """The address from which this machine reaches ``peer``; None where the name is not known or there is no route."""
    with suppress(OSError, ValueError):
        host, port = addresses.split(peer)
        family = socket.AF_INET if version == 4 else socket.AF_UNSPEC
        for kind, _, _, _, place in socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM):
            with suppress(OSError), socket.socket(kind, socket.SOCK_DGRAM) as probe:
                probe.connect(place)
                ip = ipaddress.ip_address(probe.getsockname()[0])
                if not ip.is_link_local:
                    return ip
    return None


def own_addresses(version: int) -> set[_IP]:
    """Addresses of this machine that a peer in another machine may reach: of interfaces that are connected."""
    found: set[_IP] = set()
    with suppress(OSError, ValueError):
        if sys.platform == "linux":
            found.update(_linux_ipv4() if version == 4 else _linux_ipv6())
        else:
            family = socket.AF_INET if version == 4 else socket.AF_INET6
            for *_, place in socket.getaddrinfo(socket.gethostname(), None, family, socket.SOCK_DGRAM):
                found.add(ipaddress.ip_address(str(place[0])))
    return {ip for ip in found if not (ip.is_loopback or ip.is_link_local or ip.is_unspecified)}


_SIOCGIFCONF, _SIOCGIFFLAGS = 0x8912, 0x8913
_UP_AND_RUNNING = 0x1 | 0x40
_ENTRY = 40
"""Bytes of a ``struct ifreq``: 16 for the name, then a socket address, whose IPv4 part begins after 4."""
_ENTRIES = 1024


def _linux_ipv4() -> Iterator[_IP]:
    import array
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        buffer = array.array("B", bytes(_ENTRY * _ENTRIES))
        place, _ = buffer.buffer_info()
        answer = fcntl.ioctl(any_socket, _SIOCGIFCONF, struct.pack("iP", len(buffer), place))
        used, _ = struct.unpack("iP", answer)
        entries = buffer.tobytes()[:used]
        for start in range(0, used, _ENTRY):
            name = entries[start : start + 16].rstrip(b"\0")
            request = struct.pack("16s24x", name.partition(b":")[0])
            (flags,) = struct.unpack_from("16xH", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))
            if flags & _UP_AND_RUNNING == _UP_AND_RUNNING:
                yield ipaddress.IPv4Address(entries[start + 20 : start + 24])


_IF_INET6 = Path("/proc/net/if_inet6")
_GLOBAL_SCOPE = 0
_PASSING = 0x01 | 0x08 | 0x20 | 0x40
"""Flags of addresses that change, failed, are deprecated or not ready."""


def _linux_ipv6() -> Iterator[_IP]:
    for line in _IF_INET6.read_text().splitlines():
        digits, _, _, scope, flags, _ = line.split()
        if int(scope, 16) == _GLOBAL_SCOPE and not int(flags, 16) & _PASSING:
            yield ipaddress.IPv6Address(int(digits, 16))

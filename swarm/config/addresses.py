"""Addresses of peers, as ``host:port``, with ``name@`` before it where the name of the peer is known."""

from __future__ import annotations

import ipaddress
import re
import socket
from contextlib import suppress

_PORT = re.compile(r"[0-9]{1,5}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_HIGHEST_PORT = 65535
IP = ipaddress.IPv4Address | ipaddress.IPv6Address


def name_of(address: str) -> str:
    """The name of the peer, which its certificate must have; empty where the address gives none."""
    name, at, _ = address.rpartition("@")
    return name if at else ""


def place_of(address: str) -> str:
    """The address without the name of the peer."""
    return address.rpartition("@")[2]


def split(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``; an IPv6 host stands in brackets, which are removed, as is a name.

    Raises:
        ValueError: it is not such an address.
    """
    host, colon, port = place_of(address).rpartition(":")
    if not colon or not _PORT.fullmatch(port) or int(port) > _HIGHEST_PORT:
        raise ValueError(address)
    if host.startswith("[") and host.endswith("]"):
        return str(ipaddress.IPv6Address(host[1:-1])), int(port)
    return _host(host), int(port)


def split_place(place: str) -> tuple[str, int | None]:
    """Host and port of ``host`` or ``host:port``; the port is None where none is given.

    An IPv6 host without a port needs no brackets.

    Raises:
        ValueError: it is neither.
    """
    if place.startswith("[") and place.endswith("]"):
        return str(ipaddress.IPv6Address(place[1:-1])), None
    if ":" not in place:
        return _host(place), None
    if place.count(":") > 1 and not place.startswith("["):
        return str(ipaddress.IPv6Address(place)), None
    return split(place)


def join(host: str, port: int | None) -> str:
    """``host:port``, or the host alone; with brackets around an IPv6 host."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


def is_local(address: str) -> bool:
    """Whether ``address`` is one of this machine's loopback addresses; a name other than ``localhost`` is not."""
    return is_loopback(split(address)[0])


def is_loopback(host: str) -> bool:
    """Whether ``host`` is a loopback address or ``localhost``."""
    ip = ip_of(host)
    return host == "localhost" or (ip is not None and ip.is_loopback)


def is_wildcard(host: str) -> bool:
    """Whether ``host`` stands for all addresses of a machine, such as ``0.0.0.0``."""
    ip = ip_of(host)
    return ip is not None and ip.is_unspecified


def _host(text: str) -> str:
    """A name or an IPv4 address.

    Raises:
        ValueError: it is neither, or a short form of an address, such as ``0`` or ``127.1``.
    """
    if not _HOST.fullmatch(text):
        raise ValueError(text)
    with suppress(OSError):
        socket.inet_aton(text)
        ipaddress.IPv4Address(text)
    return text


def ip_of(host: str) -> IP | None:
    """``host`` as an address, None where it is a name; an IPv4 address in an IPv6 one counts as what it is."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip

"""Addresses of peers, as ``host:port``."""

from __future__ import annotations

import ipaddress
import re

_PORT = re.compile(r"[0-9]{1,5}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_HIGHEST_PORT = 65535


def split(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``; an IPv6 host stands in brackets, which are taken off.

    Raises:
        ValueError: it is no such address.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not _PORT.fullmatch(port) or int(port) > _HIGHEST_PORT:
        raise ValueError(address)
    if host.startswith("[") and host.endswith("]"):
        return str(ipaddress.IPv6Address(host[1:-1])), int(port)
    if not _HOST.fullmatch(host):
        raise ValueError(address)
    return host, int(port)


def is_local(address: str) -> bool:
    """Whether ``address`` is one of this machine's loopback addresses; a name other than ``localhost`` is not."""
    host, _ = split(address)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

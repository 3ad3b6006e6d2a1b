"""The place of a peer or of an enrolment: ``host:port``."""

from __future__ import annotations

import ipaddress
import re
import socket
from contextlib import suppress

from swarm.errors import IdentityError
from swarm.text import printable

MAX_LENGTH = 255
MAX_HOST = 253
"""Characters of a name, as of DNS."""
_PLACE = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)):(?P<port>[0-9]{1,5})"
)


def split(place: str) -> tuple[str, int]:
    """Host and port of ``host:port``; an IPv6 host stands in brackets, which are removed.

    Raises:
        IdentityError: it is not of this form, or others could not reach it: a wildcard, or port 0.
    """
    found = _PLACE.fullmatch(place) if len(place) <= MAX_LENGTH else None
    try:
        if not found or not 0 < int(found["port"]) <= 65535:
            raise ValueError
        host = _six(found["six"]) if found["six"] else _host(found["host"])
    except ValueError:
        raise IdentityError(f"{printable(place, 80)!r} is no address that others can reach: give host:port") from None
    return host, int(found["port"])


def _host(text: str) -> str:
    """A name or an IPv4 address.

    Raises:
        ValueError: it is too long, a wildcard, or a short form of an address, such as ``0`` or ``127.1``.
    """
    if len(text) > MAX_HOST or text == "0.0.0.0":  # noqa: S104 # refused
        raise ValueError
    with suppress(OSError):
        socket.inet_aton(text)
        ipaddress.IPv4Address(text)
    return text


def _six(text: str) -> str:
    """An IPv6 address in its usual form.

    Raises:
        ValueError: it is none, or a wildcard.
    """
    ip = ipaddress.IPv6Address(text)
    if (ip.ipv4_mapped or ip).is_unspecified:
        raise ValueError
    return str(ip)


def join(host: str, port: int) -> str:
    """``host:port``, with brackets around an IPv6 host."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

"""The place of a peer or of an enrolment: ``host:port``."""

from __future__ import annotations

import ipaddress
import re

from swarm.errors import IdentityError
from swarm.text import printable

MAX_LENGTH = 255
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
        host = str(ipaddress.IPv6Address(found["six"])) if found["six"] else found["host"]
        if host in {"0.0.0.0", "::"}:  # noqa: S104 # refused
            raise ValueError
    except ValueError:
        raise IdentityError(f"{printable(place, 80)!r} is no address that others can reach: give host:port") from None
    return host, int(found["port"])


def join(host: str, port: int) -> str:
    """``host:port``, with brackets around an IPv6 host."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

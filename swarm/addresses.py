"""Addresses of peers: ``host:port``, with ``name@`` before it where the name of the peer is known.

The host is an IP address, that of IPv6 in brackets, or a name of DNS. Short forms of IPv4 addresses, such as ``0`` or
``127.1``, and IPv6 addresses with a scope are not allowed: another system may read them otherwise.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from contextlib import suppress
from dataclasses import dataclass

from swarm.errors import AddressError
from swarm.text import MEMBER_RULE, is_member_name, printable

MAX_LENGTH = 255
"""Characters of an address that others are given without a name: an invitation has one byte for the length."""
IP = ipaddress.IPv4Address | ipaddress.IPv6Address

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_PORT = re.compile(r"[0-9]{1,5}")
_SIX, _BLOCK_BITS = 6, 64
_SHOWN = 80
"""Characters of a wrong address in a message."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a peer or an enrolment listens."""

    host: str
    """A name or an IP address, without brackets."""
    port: int
    """0 stands for any free one, where this machine listens."""
    name: str = ""
    """Of the peer, which its certificate must have; empty where the address gives none."""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``host:port`` or ``[ipv6]:port``, with or without ``name@`` before it.

        Raises:
            AddressError: it is neither.
        """
        name, at, place = text.rpartition("@")
        if at and not is_member_name(name):
            raise AddressError(_no_address(text, f"a peer's name before @ has {MEMBER_RULE}"))
        host, _, port = place.rpartition(":")
        if not _PORT.fullmatch(port) or int(port) >= 2**16:
            raise AddressError(_no_address(text, "expected host:port or [ipv6]:port with a port below 65536"))
        try:
            return cls(_bare(host), int(port), name)
        except ValueError as error:
            raise AddressError(_no_address(text, str(error))) from None

    @classmethod
    def reachable(cls, text: str) -> Address:
        """Read ``host:port`` that others can connect to, of a peer or an enrolment.

        Raises:
            AddressError: it has another form or a name, is too long, is a wildcard, or has port 0.
        """
        with suppress(AddressError):
            found = cls.parse(text)
            if found.port and not found.name and not is_wildcard(found.host) and len(text) <= MAX_LENGTH:
                return found
        raise _unreachable(text)

    @property
    def is_loopback(self) -> bool:
        """Whether it is one of this machine's loopback addresses."""
        return is_loopback(self.host)

    @property
    def place(self) -> str:
        """``host:port``, without the name."""
        return join(self.host, self.port)

    def __str__(self) -> str:
        return f"{self.name}@{self.place}" if self.name else self.place


def parse_advertised(text: str) -> tuple[str, int | None]:
    """Host and port of ``host`` or ``host:port``; the port is None where none is given.

    An IPv6 host without a port needs no brackets.

    Raises:
        AddressError: it is neither, others cannot reach it because it is a wildcard or has port 0, or it has a name.
    """
    try:
        is_six = text.count(":") > 1 and not text.startswith("[")
        host, port = (_bare(f"[{text}]") if is_six else _bare(text)), None
    except ValueError:
        found = Address.reachable(text)
        host, port = found.host, found.port
    if is_wildcard(host):
        raise _unreachable(text)
    return host, port


def name_of(address: str) -> str:
    """The name of the peer, which its certificate must have; empty where the address gives none. It is not checked."""
    return address.rpartition("@")[0]


def place_of(address: str) -> str:
    """The address without the name of the peer. It is not checked: the transport of a plugin may have other ones."""
    return address.rpartition("@")[2]


def join(host: str, port: int | None) -> str:
    """``host:port``, or the host alone; with brackets around an IPv6 host."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


def is_loopback(host: str) -> bool:
    """Whether ``host`` is a loopback address or ``localhost``; another name is not looked up."""
    ip = ip_of(host)
    return host == "localhost" or (ip is not None and ip.is_loopback)


def is_wildcard(host: str) -> bool:
    """Whether ``host`` stands for all addresses of a machine, such as ``0.0.0.0``."""
    ip = ip_of(host)
    return ip is not None and ip.is_unspecified


def ip_of(host: str) -> IP | None:
    """``host`` as an address, None where it is a name; an IPv4 address in an IPv6 one counts as what it is."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


def block_of(host: str) -> str:
    """What counts as one where there is a limit for each address: an IPv4 address, or a /64 of IPv6.

    A line has a /64 of IPv6 at least, and so 2**64 addresses. An IPv4 address in an IPv6 one counts as what it is. What
    is no address, such as a name, is returned as it is.
    """
    ip = ip_of(host.partition("%")[0])
    if ip is None:
        return host
    return str(ipaddress.ip_network((ip, _BLOCK_BITS), strict=False)) if ip.version == _SIX else str(ip)


def _bare(host: str) -> str:
    """A host without brackets, an IPv6 address in its usual form.

    Raises:
        ValueError: it is no host.
    """
    if host.startswith("[") and host.endswith("]"):
        if "%" in host:
            raise ValueError("an IPv6 address with a scope means nothing elsewhere")
        return str(ipaddress.IPv6Address(host[1:-1]))
    if not _HOST.fullmatch(host):
        raise ValueError("expected host:port or [ipv6]:port, and a host of letters, digits, '.', '_' and '-'")
    with suppress(OSError):
        socket.inet_aton(host)
        ipaddress.IPv4Address(host)
    return host


def _unreachable(text: str) -> AddressError:
    return AddressError(f"{printable(text, _SHOWN)!r} is no address that others can reach: give host:port")


def _no_address(text: str, reason: str) -> str:
    return f"{printable(text, _SHOWN)!r} is no address: {reason}"

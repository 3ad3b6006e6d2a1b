"""Addresses: ``host:port``, with IPv6 hosts in brackets, and ``name@`` before it where the peer's name is known."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from swarm.errors import AddressError

_PATTERN = re.compile(
    r"(?:(?P<name>[a-z0-9.-]{1,63})@)?"
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[\w.-]{1,253})):(?P<port>\d{1,5})",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a peer listens."""

    host: str
    port: int
    name: str = ""
    """Which its certificate must have; empty where any peer of the consortium may be there."""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``host:port`` or ``[ipv6]:port``, with or without ``name@`` before it.

        Raises:
            AddressError: it is neither.
        """
        match = _PATTERN.fullmatch(text)
        if match is None or not (port := int(match["port"])) < 2**16:
            raise AddressError(f"{text!r} is no address: expected host:port or [ipv6]:port with a port below 65536")
        address = cls(match["six"] or match["host"], port, match["name"] or "")
        if match["six"] and address.ip is None:
            raise AddressError(f"{text!r} is no address: {match['six']!r} is no IPv6 address")
        return address

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The host, if it is no name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    @property
    def loopback(self) -> bool:
        """Whether it stays on this machine."""
        return self.host == "localhost" or (self.ip is not None and self.ip.is_loopback)

    @property
    def target(self) -> str:
        """As gRPC wants it: with its kind, so that no peer can name a socket of another sort."""
        if self.ip is None:
            return f"dns:///{self.place}"
        return f"ipv{self.ip.version}:{self.place}"

    @property
    def place(self) -> str:
        """Without the name."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.name}@{self.place}" if self.name else self.place

"""Addresses configured by the user (``--peer host:port``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm.discovery.base import Discovery

if TYPE_CHECKING:
    from collections.abc import Iterable


class SeedDiscovery(Discovery):
    """A fixed list. One address of a running peer is enough, because that peer sends the addresses of the others.

    Args:
        addresses: where others listen; this peer's own may be among them.
    """

    def __init__(self, addresses: Iterable[str]) -> None:
        self._addresses = tuple(dict.fromkeys(addresses))
        self._own: str | None = None

    def announce(self, name: str, address: str, incarnation: str) -> None:
        self._own = address

    def discover(self) -> tuple[str, ...]:
        return tuple(address for address in self._addresses if address != self._own)

    def withdraw(self) -> None:
        self._own = None

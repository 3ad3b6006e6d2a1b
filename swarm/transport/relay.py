"""A relay: a way between two peers of whom neither can connect to the other."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Relay(ABC):
    """Joins loopback addresses of two machines. It is not trusted: what passes is TLS of the peers.

    A peer is reached over it under the address that others know, whether or not that can be connected to.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is, for messages, such as ``the hub at tls://hub.example.org:4222``."""

    @abstractmethod
    def start(self, address: str, host: str, port: int, data_port: int | None) -> None:
        """Let others reach this peer.

        Args:
            address: under which others know this peer.
            host: on which it listens on this machine.
            port: the same.
            data_port: for data channels; None where it has none.

        Raises:
            AddressError: the relay cannot be used.
        """

    @abstractmethod
    def port(self, address: str, *, data: bool = False) -> int:
        """A port of 127.0.0.1 from which each connection goes to the peer at ``address``; the same until ``forget``.

        Args:
            address: of the peer.
            data: whether to its data port.

        Raises:
            TransportError: the relay is closed.
        """

    @abstractmethod
    def forget(self, address: str) -> None:
        """The ports for ``address`` are not used any more; connections that are open stay."""

    @abstractmethod
    def reason(self, address: str) -> str:
        """Why the last connection to ``address`` broke; empty where none has."""

    @abstractmethod
    def close(self, linger: float) -> None:
        """Send what is on its way for at most ``linger`` seconds, then end. Idempotent, also where it never started."""

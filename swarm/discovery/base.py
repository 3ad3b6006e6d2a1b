"""The interface of a discovery, through which a peer finds addresses of other peers.

A discovery gives only addresses to connect to. A greeting decides whether the peer there belongs to the session, and
committed rounds decide who votes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod


class Discovery(ABC):
    """Publishes the address of a peer and looks up addresses of others."""

    def check(self) -> None:  # noqa: B027 - few discoveries need it
        """Find out whether a peer could be announced, without announcing one; ``withdraw`` is called after it.

        Nothing by default. ``swarm check`` asks it before a run.

        Raises:
            ConfigurationError: it could not, and why.
        """

    @abstractmethod
    def announce(self, name: str, address: str, incarnation: str) -> None:
        """Publish that the peer ``name``, started as ``incarnation``, listens on ``address``.

        A second call replaces the first.

        Raises:
            ConfigurationError: the address cannot be published.
        """

    @abstractmethod
    def discover(self) -> tuple[str, ...]:
        """Addresses at which others may listen, without duplicates and without the announced one.

        Called about twice per second, so it must be fast. Must not raise once training runs.
        """

    def ended(self) -> frozenset[str]:
        """Names of peers that have ended and will not come, so that no start waits for them; usually none is known.

        Called about twice per second until training runs. Must not raise.
        """
        return frozenset()

    @abstractmethod
    def withdraw(self) -> None:
        """Remove the announcement. Idempotent; must not raise."""

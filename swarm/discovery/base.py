"""How a peer finds the addresses of others: the interface that every discovery implements.

What comes from here is only where to knock. Who is in the swarm is settled by greeting, and membership in the sense
of rounds by committed rounds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod


class Discovery(ABC):
    """A place where peers leave and look up addresses."""

    @abstractmethod
    def announce(self, name: str, address: str, incarnation: str) -> None:
        """Tell others that the peer ``name``, started as ``incarnation``, listens on ``address``.

        A second call replaces the first.

        Raises:
            ConfigurationError: the place cannot be written to.
        """

    @abstractmethod
    def discover(self) -> tuple[str, ...]:
        """Addresses at which others may listen, without duplicates and without the announced one.

        Cheap enough to be called every second; never raises once training runs.
        """

    @abstractmethod
    def withdraw(self) -> None:
        """Take back what was announced. Idempotent, never raises."""

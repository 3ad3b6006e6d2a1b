"""What one member of an exchange waits for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from swarm.records import PeerId
from swarm.text import size


@dataclass(frozen=True, slots=True)
class Owed:
    """What is missing, and of whom."""

    what: str
    """In a sentence, such as "its contribution"."""
    turn: int
    """1 where whoever owes it depends on nobody; one more for each other peer that it may be waiting for itself."""
    left: Mapping[PeerId, int]
    """Bytes that each peer owes; where they travel encoded, those of the values."""

    def of(self, peer: PeerId) -> str:
        """How much of what ``peer`` owes."""
        return f"{size(self.left[peer])} of {self.what}"

    def __str__(self) -> str:
        """Who owes how much of what."""
        return ", ".join(f"{peer} ({self.of(peer)})" for peer in sorted(self.left))

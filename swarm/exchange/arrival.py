"""A frame that is on its way."""

from __future__ import annotations

from dataclasses import dataclass

from swarm.errors import ExchangeError
from swarm.exchange.layout import Chunk, FrameKind, Head
from swarm.records import PeerId
from swarm.tensors.state import Array


@dataclass(slots=True)
class Arrival:
    """A frame that is on its way."""

    sender: PeerId
    head: Head
    payload: memoryview
    """The memory that it fills: that of ``values`` itself where they travel as they are."""
    chunk: Chunk | None = None
    """Of the frame, unless it is about something smaller."""
    values: Array | None = None
    """Where those of the chunk go."""
    verbatim: bool = False
    squared: float = 0.0
    """Of a contribution that is measured as it comes: its squared distance from the same chunk of the parent model."""

    def wrong(self, what: str) -> ExchangeError:
        """The error that says what is wrong with the chunk, and whose it is."""
        kind = "contribution" if self.head.kind is FrameKind.CONTRIBUTION else "merged chunk"
        return ExchangeError(f"{self.sender} sent a {kind} that cannot be: {what}")

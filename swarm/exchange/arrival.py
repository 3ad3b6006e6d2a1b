"""What comes in during an exchange, and what may be wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

from swarm.errors import ExchangeError
from swarm.exchange.layout import Chunk, FrameKind
from swarm.records import PeerId
from swarm.tensors.state import Array


@dataclass(slots=True)
class Arrival:
    """A chunk whose payload is on its way: ``values`` is the memory that it will fill."""

    sender: PeerId
    kind: FrameKind
    chunk: Chunk
    values: Array
    squared: float = 0.0
    """Of a contribution that is measured as it comes: its squared distance from the same chunk of the parent model."""

    def wrong(self, what: str) -> ExchangeError:
        """The error that says what is wrong with it, and whose it is."""
        kind = "contribution" if self.kind is FrameKind.CONTRIBUTION else "merged chunk"
        return ExchangeError(f"{self.sender} sent a {kind} that cannot be: {what}")


class ContributionError(ExchangeError):
    """What a peer has contributed cannot be merged; it may be found out while another one's frame is taken."""

    def __init__(self, peer: PeerId, reason: str) -> None:
        super().__init__(reason)
        self.peer = peer

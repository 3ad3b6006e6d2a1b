"""The contributions to the slice that this member reduces, held chunk by chunk until all of a chunk are here."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from swarm.exchange.coding import ChunkCoder
from swarm.exchange.layout import Chunk
from swarm.messages import PartialNorm
from swarm.records import PeerId
from swarm.tensors.capture import Capture
from swarm.tensors.state import Array, Schema

LEAST_AHEAD = 16 << 20
"""Bytes of contributions that may always wait for those of peers that are behind ..."""
SHARE_AHEAD = 8
"""... or this part of the model, where that is more: memory is bounded, however unlike the peers' paces are."""


class ReduceBuffer:
    """What came of each chunk from whom. This peer's own part is read where it lies.

    Args:
        chunks: of the slice.
        contributors: of weights, in the order in which they are merged.
        me: this peer.
        own: its capture.
        coder: of the attempt.
        ahead: bytes of contributions that may wait for those of peers behind.
        moments: the contributors of moments, in the same order.
    """

    def __init__(
        self,
        chunks: Sequence[Chunk],
        contributors: Sequence[PeerId],
        me: PeerId,
        own: Capture,
        coder: ChunkCoder,
        ahead: float,
        moments: Sequence[PeerId] = (),
    ) -> None:
        self._contributors = tuple(contributors)
        self._moments = tuple(moments)
        self._segment = own.schema.moments
        self._me = me
        self._own = own
        self._coder = coder
        self._arrays: dict[Chunk, dict[PeerId, Array]] = {chunk: {} for chunk in chunks}
        self._left = dict.fromkeys(contributors, 0)
        """Bytes of the values of each that are not here."""
        for chunk in chunks:
            nbytes = chunk.nbytes(own.schema)
            for peer in {*self.contributors(chunk)} - {me}:
                self._left[peer] += nbytes
        self._squared: dict[tuple[PeerId, Chunk], float] = {}
        self._waiting = 0
        self._ahead = ahead

    def put(self, sender: PeerId, chunk: Chunk, values: Array, squared: float) -> None:
        """Take a contribution, with its squared distance from the parent model, or 0 where ``measured`` follows."""
        self._arrays[chunk][sender] = values
        self._squared[sender, chunk] = squared
        self._left[sender] -= values.nbytes
        self._waiting += values.nbytes

    def contributors(self, chunk: Chunk) -> tuple[PeerId, ...]:
        """The peers whose values of a chunk are merged, in this order."""
        return self._moments if chunk.segment == self._segment else self._contributors

    def complete(self, chunk: Chunk) -> bool:
        """Whether everybody's contribution to a chunk is here."""
        return len(self._arrays[chunk]) == len({*self.contributors(chunk)} - {self._me})

    def missing(self) -> dict[PeerId, int]:
        """Peers whose contributions are incomplete, with the bytes of values that are not here."""
        return {peer: left for peer, left in self._left.items() if left}

    def room(self, sender: PeerId) -> bool:
        """Whether ``sender`` may go on: it is not ahead of another one, or few bytes wait for those behind.

        Whoever is furthest behind may always go on, so this can hold nobody up for ever.
        """
        return self._waiting < self._ahead or self._left.get(sender, 0) == max(self._left.values())

    def of(self, chunk: Chunk) -> list[Array]:
        """A complete chunk of each contribution, in order. May run beside everything else, as ``measure_own``."""
        arrays = self._arrays[chunk]
        return [self.owned(chunk) if peer == self._me else arrays[peer] for peer in self.contributors(chunk)]

    def owned(self, chunk: Chunk) -> Array:
        """This peer's own values of any chunk."""
        return self._own.part(chunk.segment, chunk.start, chunk.stop)

    def measured(self, chunk: Chunk, squared: Sequence[float]) -> None:
        """Take the distance of each contribution to a chunk, in their order."""
        self._squared |= {(peer, chunk): value for peer, value in zip(self._contributors, squared, strict=True)}

    def measure_own(self, chunk: Chunk) -> None:
        """Take the distance of this peer's own contribution, while its values are at hand."""
        if self._me in self._left:
            self._squared[self._me, chunk] = self._coder.squared_distance(chunk, self.owned(chunk))

    def drop(self, chunk: Chunk) -> None:
        """A chunk is merged: its contributions are dropped."""
        self._waiting -= sum(values.nbytes for values in self._arrays[chunk].values())
        self._arrays[chunk] = {}

    def norms(self) -> tuple[PartialNorm, ...]:
        """How far each contribution is from the parent model within the slice; empty where there is no parent."""
        if not self._coder.relative:
            return ()
        sums = dict.fromkeys(self._contributors, 0.0)
        for peer, chunk in sorted(self._squared):
            sums[peer] += self._squared[peer, chunk]
        # A sum that overflows is the contributor's doing: this member still has a finite number to tell.
        return tuple(PartialNorm(peer, min(squared, sys.float_info.max)) for peer, squared in sums.items())


def bytes_ahead(schema: Schema) -> int:
    """Bytes of contributions that a member lets wait for those of peers that are behind."""
    return max(LEAST_AHEAD, schema.nbytes // SHARE_AHEAD)

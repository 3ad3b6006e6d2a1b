"""The contributions to the slice that this member reduces, held piece by piece until all of a piece are here."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from swarm.capture import Capture
from swarm.messages import PartialNorm
from swarm.records import PeerId
from swarm.rounds.coding import PieceCoder
from swarm.rounds.layout import Piece
from swarm.state import Array, Schema

LEAST_AHEAD = 16 << 20
"""Bytes of contributions that may always wait for those of peers that are behind ..."""
SHARE_AHEAD = 8
"""... or this part of the model, where that is more: memory is bounded, however unlike the peers' paces are."""


class Columns:
    """What came of each piece from whom. This peer's own part is read where it lies.

    Args:
        pieces: of the slice.
        contributors: in the order in which they are merged.
        me: this peer.
        own: its capture.
        coder: of the attempt.
        ahead: bytes of contributions that may wait for those of peers behind.
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        contributors: Sequence[PeerId],
        me: PeerId,
        own: Capture,
        coder: PieceCoder,
        ahead: float,
    ) -> None:
        self._contributors = tuple(contributors)
        self._me = me
        self._own = own
        self._coder = coder
        self._arrays: dict[Piece, dict[PeerId, Array]] = {piece: {} for piece in pieces}
        self._left = dict.fromkeys(contributors, len(pieces)) | ({me: 0} if me in contributors else {})
        self._others = len({*contributors} - {me})
        self._squared: dict[tuple[PeerId, Piece], float] = {}
        self._waiting = 0
        self._ahead = ahead

    def put(self, sender: PeerId, piece: Piece, values: Array, squared: float) -> None:
        """Take a contribution, with its squared distance from the parent model, or 0 where ``measured`` follows."""
        self._arrays[piece][sender] = values
        self._squared[sender, piece] = squared
        self._left[sender] -= 1
        self._waiting += values.nbytes

    def complete(self, piece: Piece) -> bool:
        """Whether everybody's contribution to a piece is here."""
        return len(self._arrays[piece]) == self._others

    def missing(self) -> set[PeerId]:
        """Peers of whom something is yet to come."""
        return {peer for peer, left in self._left.items() if left}

    def room(self, sender: PeerId) -> bool:
        """Whether ``sender`` may go on: it is not ahead of another one, or few bytes wait for those behind.

        Whoever is furthest behind may always go on, so this can hold nobody up for ever.
        """
        return self._waiting < self._ahead or self._left.get(sender, 0) == max(self._left.values())

    def of(self, piece: Piece) -> list[Array]:
        """A complete piece of each contribution, in order. May run beside everything else, as ``measure_own``."""
        arrays = self._arrays[piece]
        return [self.owned(piece) if peer == self._me else arrays[peer] for peer in self._contributors]

    def owned(self, piece: Piece) -> Array:
        """This peer's own values of any piece."""
        return self._own.part(piece.segment, piece.start, piece.stop)

    def measured(self, piece: Piece, squared: Sequence[float]) -> None:
        """Take the distance of each contribution to a piece, in their order."""
        self._squared |= {(peer, piece): value for peer, value in zip(self._contributors, squared, strict=True)}

    def measure_own(self, piece: Piece) -> None:
        """Take the distance of this peer's own contribution, while its values are at hand."""
        if self._me in self._left:
            self._squared[self._me, piece] = self._coder.squared_distance(piece, self.owned(piece))

    def drop(self, piece: Piece) -> None:
        """A piece is merged: its contributions are of no more use."""
        self._waiting -= sum(values.nbytes for values in self._arrays[piece].values())
        self._arrays[piece] = {}

    def norms(self) -> tuple[PartialNorm, ...]:
        """How far each contribution is from the parent model within the slice; empty where there is no parent."""
        if not self._coder.relative:
            return ()
        sums = dict.fromkeys(self._contributors, 0.0)
        for peer, piece in sorted(self._squared):
            sums[peer] += self._squared[peer, piece]
        # A sum that overflows is the contributor's doing: this member still has a finite number to tell.
        return tuple(PartialNorm(peer, min(squared, sys.float_info.max)) for peer, squared in sums.items())


def bytes_ahead(schema: Schema) -> int:
    """Bytes of contributions that a member lets wait for those of peers that are behind."""
    return max(LEAST_AHEAD, schema.nbytes // SHARE_AHEAD)

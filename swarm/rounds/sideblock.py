"""The side blocks of one attempt: every member takes them all, and merges them for itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from swarm.errors import ExchangeError
from swarm.merge.side import merge_side
from swarm.records import PeerId
from swarm.rounds.layout import side_pieces
from swarm.state import Array, ModelState, Schema, numpy_dtype


class SideBlocks:
    """Collects the side blocks of the contributors, piece by piece."""

    def __init__(self, schema: Schema, contributors: Sequence[PeerId], weights: Sequence[int]) -> None:
        self._schema = schema
        self._contributors = contributors if schema.side else ()
        self._weights = weights
        self._pieces = frozenset(side_pieces(schema.side_nbytes))
        self._blocks = {peer: bytearray(schema.side_nbytes) for peer in self._contributors}
        self._left = {peer: {start for start, _ in self._pieces} for peer in self._contributors}

    @property
    def complete(self) -> bool:
        """Whether all of them are here."""
        return not any(self._left.values())

    def missing(self) -> Iterator[PeerId]:
        """Whose side blocks are not here whole."""
        return (peer for peer, left in self._left.items() if left)

    def put(self, peer: PeerId, block: bytes) -> None:
        """Take a whole side block that is at hand."""
        if peer in self._left:
            self._blocks[peer][:] = block
            self._left[peer].clear()

    def take(self, sender: PeerId, start: int, payload: memoryview) -> None:
        """Take one piece of a member's side block.

        Raises:
            ExchangeError: nobody waits for it, or the block it completes holds NaN or infinity.
        """
        left = self._left.get(sender, set())
        if start not in left or (start, start + len(payload)) not in self._pieces:
            raise ExchangeError(f"{sender} sent a piece of a side block that nobody waits for")
        self._blocks[sender][start : start + len(payload)] = payload
        left.discard(start)
        if not left and not self._opened(sender).side_finite():
            raise ExchangeError(f"{sender} offered finite weights and sent NaN or infinity")

    def merge(self, own: list[Array], *, robust: bool) -> tuple[list[Array], tuple[str, ...]]:
        """What ``merge_side`` makes of them; only when complete."""
        sides = [self._opened(peer).side for peer in self._contributors]
        return merge_side(self._schema, sides, self._weights, own, robust=robust)

    def _opened(self, peer: PeerId) -> ModelState:
        specs = self._schema.side
        state = ModelState(self._schema, {}, [np.empty(spec.shape, numpy_dtype(spec.dtype)) for spec in specs])
        state.unpack_side(memoryview(self._blocks[peer]))
        return state

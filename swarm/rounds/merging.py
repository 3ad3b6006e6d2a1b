"""Merges the pieces of the slice that this member reduces, and codes what they come to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import itemgetter

import numpy as np

from swarm.buffers import BufferPool
from swarm.merge.base import MergeRule
from swarm.merge.gram import combine, partial_gram
from swarm.records import PeerId
from swarm.rounds.arrival import ContributionError
from swarm.rounds.barrier import Matrix, too_large
from swarm.rounds.coding import PieceCoder
from swarm.rounds.columns import Columns
from swarm.rounds.layout import Piece
from swarm.state import Array, ModelState, is_finite

LARGEST = {dtype: float(np.finfo(dtype).max) / 4 for dtype in (np.float32, np.float64)}
"""A sum of two larger differences may be more than the dtype holds. Half precision is merged in float32."""


class PieceMerger:
    """May run on several threads at once, each with a piece of its own.

    Args:
        rule: how weights are merged.
        contributors: in the order in which they are merged.
        weights: one per contributor.
        columns: the contributions.
        coder: of the attempt.
        result: where merged pieces go.
        memory: for what is merged and not sent as it is.
    """

    def __init__(
        self,
        rule: MergeRule,
        contributors: Sequence[PeerId],
        weights: Sequence[int],
        columns: Columns,
        coder: PieceCoder,
        result: ModelState,
        memory: BufferPool,
    ) -> None:
        self._rule = rule
        self._contributors = contributors
        self._weights = weights
        self._columns = columns
        self._coder = coder
        self._segments = tuple(result.segments.values())
        self._dtypes = tuple(result.segments)
        self._memory = memory

    def merge(self, piece: Piece) -> memoryview:
        """Merge a piece of which every contribution is here, measuring each, and code it.

        Raises:
            ContributionError: one holds NaN or infinity, or values that are too large.
            ValueError: the rule gives NaN, infinity or no such piece.
        """
        return self._coded(piece, partial(self._merge_into, piece))

    def combine(self, piece: Piece, coefficients: Matrix) -> memoryview:
        """Merge a piece as a linear combination of its contributions, and code it.

        Raises:
            ContributionError: one holds values that are too large.
            ValueError: the coefficients make NaN or infinity of contributions that have none.
        """
        return self._coded(piece, partial(combine, self._columns.of(piece), coefficients))

    def gram(self, pieces: Iterable[Piece]) -> Matrix:
        """The inner products of the contributions, added up over ``pieces``, of which every contribution is here.

        Raises:
            ContributionError: one holds values that are too large.
        """
        total: Matrix = np.zeros((len(self._contributors),) * 2)
        for piece in pieces:
            total += partial_gram(self._columns.of(piece))
            if too_large(total):
                raise self._too_far(*max(self._reaches(piece), key=itemgetter(1)))
        return total

    def _merge_into(self, piece: Piece, out: Array) -> None:
        columns, origin = self._columns.of(piece), self._coder.origin(piece)
        if origin is None:
            self._rule.merge_into(columns, self._weights, out)
            return
        squared = self._rule.merge_measured(columns, self._weights, origin, out)
        for peer, values, distance in zip(self._contributors, columns, squared, strict=True):
            if not math.isfinite(distance) and not is_finite(values):
                raise ContributionError(peer, f"{peer} sent a contribution that cannot be: NaN or infinity")
        self._columns.measured(piece, squared)

    def _coded(self, piece: Piece, merge: Callable[[Array], object]) -> memoryview:
        """What ``merge`` makes of a piece, as it travels: all members take what that says, this one included."""
        target = self._segments[piece.segment][piece.start : piece.stop]
        if self._coder.verbatim(self._dtypes[piece.segment], target.nbytes):
            self._run(piece, merge, target)
            return self._coder.encode(piece, target)
        # What coding lost of it may be looked at after the round, when the target holds what the payload says.
        merged = self._memory.empty(target.size, self._dtypes[piece.segment])
        self._run(piece, merge, merged)
        payload = self._coder.encode(piece, merged)
        self._coder.decode(piece, payload, target)
        return payload

    def _run(self, piece: Piece, merge: Callable[[Array], object], out: Array) -> None:
        merge(out)
        if is_finite(out):
            return
        largest = LARGEST[np.float64 if out.dtype == np.float64 else np.float32] / len(self._contributors)
        for peer, reach in self._reaches(piece):
            if reach > largest:
                raise self._too_far(peer, reach)
        raise ValueError(f"merge rule {self._rule.name!r} gave NaN or infinity for contributions that have none")

    def _reaches(self, piece: Piece) -> list[tuple[PeerId, float]]:
        """Each contributor with the largest absolute value that it has in ``piece``."""
        columns = zip(self._contributors, self._columns.of(piece), strict=True)
        return [(peer, float(np.abs(values.astype(np.float64)).max(initial=0.0))) for peer, values in columns]

    @staticmethod
    def _too_far(peer: PeerId, reach: float) -> ContributionError:
        return ContributionError(peer, f"{peer} sent a contribution that cannot be merged: a value of {reach:.3g}")

"""One member's part in the exchange of one attempt: reduce-scatter and all-gather, without I/O or threads.

Member j reduces the j-th slice of every segment: it takes that slice from each contributor, merges it piece by piece
in the fixed order of peers, and gives the result to everybody. So each member sends and receives 2(n-1)/n of the
model, the least that is possible for exact values, and every member assembles the same bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from swarm.errors import ExchangeError
from swarm.merge.base import MergeRule, Scope
from swarm.merge.gram import combine, partial_gram
from swarm.merge.side import merge_side
from swarm.messages import Proposal
from swarm.records import PeerId
from swarm.rounds.layout import Kind, Piece, frame, open_frame, side_pieces, slice_pieces, values_of
from swarm.state import Array, ModelState, Schema, is_finite

OutFrame = tuple[bytes, memoryview]

ROUNDING = 1e-9
"""How far the sum of a rule's coefficients may lie from 1."""


class Exchange:
    """What this member has received, merged and still has to send under one attempt.

    ``receive`` takes frames as they come; ``next_frame`` gives those to send. Neither blocks. The caller holds a lock
    where several threads are at work. ``own`` is only read, and must not change until the exchange is over.
    """

    def __init__(self, me: PeerId, proposal: Proposal, rule: MergeRule, own: ModelState) -> None:
        self._me = me
        self._members = proposal.group
        self._leader = proposal.attempt.leader
        self._rule = rule
        self._own = own
        self._schema: Schema = own.schema
        self._dtypes = tuple(self._schema.segments)
        self._contributors = proposal.contributors
        self._weights = [entry.weight for entry in proposal.entries if entry.weight > 0]
        self._result = ModelState.empty(self._schema)
        self._segments = tuple(self._result.segments.values())
        place = {peer: index for index, peer in enumerate(self._members)}
        pieces = {peer: slice_pieces(self._schema, place[peer], len(place)) for peer in self._members}
        self._mine = pieces[me]
        self._owed = {peer: {(p.segment, p.start): p for p in pieces[peer]} for peer in self._members if peer != me}
        """Merged pieces that other members still owe."""
        self._reduced = {(piece.segment, piece.start): piece for piece in self._mine}
        self._columns: dict[Piece, dict[PeerId, Array]] = {piece: {} for piece in self._mine}
        self._unmerged = len(self._mine)
        self._sides: dict[PeerId, bytearray] = {}
        self._side_left: dict[PeerId, set[int]] = {}
        self._side_merged = not self._schema.side
        self._grams: dict[PeerId, NDArray[np.float64]] = {}
        self._coefficients: NDArray[np.float64] | None = None
        self.constants_differing: tuple[str, ...] = ()
        """Names of constants that a contributor has otherwise than this peer."""
        others = [peer for peer in self._members if peer != me]
        self._results_out: dict[PeerId, deque[OutFrame]] = {peer: deque() for peer in others}
        self._sent_results = dict.fromkeys(others, 0)
        self._contributions_out = {peer: self._contribution(pieces[peer]) for peer in others}
        self._contributed: set[PeerId] = set()
        self._begin()

    # What is left ----------------------------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether the whole merged model is assembled here."""
        return self._unmerged == 0 and self._side_merged and not any(self._owed.values())

    def sent(self, to: PeerId) -> bool:
        """Whether everything that ``to`` needs from this member was handed out."""
        results = self._sent_results[to] == len(self._mine)
        gram = self._rule.scope is not Scope.GRAM or self._gram_settled
        return to in self._contributed and results and gram and not self._results_out[to]

    def result(self) -> ModelState:
        """The merged model; only when ``done``."""
        if not self.done:
            raise ExchangeError("the exchange is not complete")
        return self._result

    def owing(self) -> tuple[frozenset[PeerId], frozenset[PeerId]]:
        """Peers whose contributions are missing here, and peers whose merged pieces are."""
        contributions = {
            peer
            for columns in self._columns.values()
            for peer in self._contributors
            if peer not in columns and peer != self._me
        }
        contributions |= {peer for peer, left in self._side_left.items() if left}
        return frozenset(contributions), frozenset(peer for peer, pieces in self._owed.items() if pieces)

    # Out -------------------------------------------------------------------------------------------------------------

    def next_frame(self, to: PeerId) -> OutFrame | None:
        """The next frame for ``to``, or None when there is none at present."""
        if self._results_out[to]:
            out = self._results_out[to].popleft()
            if out[0][0] == Kind.RESULT:
                self._sent_results[to] += 1
            return out
        contribution = next(self._contributions_out[to], None)
        if contribution is None:
            self._contributed.add(to)
        return contribution

    def _contribution(self, pieces: tuple[Piece, ...]) -> Iterator[OutFrame]:
        if self._me not in self._contributors:
            return
        if self._schema.side:
            packed = memoryview(self._own.pack_side())
            for start, stop in side_pieces(len(packed)):
                yield frame(Kind.SIDE, 0, start, packed[start:stop])
        segments = tuple(self._own.segments.values())
        for piece in pieces:
            yield frame(
                Kind.CONTRIBUTION, piece.segment, piece.start, segments[piece.segment][piece.start : piece.stop]
            )

    # In --------------------------------------------------------------------------------------------------------------

    def receive(self, sender: PeerId, data: memoryview) -> None:
        """Take one joined frame from a member; its memory may be reused afterwards.

        Raises:
            ExchangeError: it contradicts the schema or the proposal, comes twice, or holds NaN or infinity.
        """
        kind, segment, start, payload = open_frame(data)
        if sender not in self._owed:
            raise ExchangeError(f"{sender} is no member of this group")
        if kind is Kind.CONTRIBUTION:
            self._take_contribution(sender, segment, start, payload)
        elif kind is Kind.RESULT:
            self._take_result(sender, segment, start, payload)
        elif kind is Kind.SIDE:
            self._take_side(sender, start, payload)
        elif kind is Kind.GRAM:
            self._take_gram(sender, payload)
        else:
            self._take_coefficients(sender, payload)

    def _begin(self) -> None:
        if self._schema.side:
            for peer in self._contributors:
                self._sides[peer] = bytearray(self._schema.side_nbytes)
                self._side_left[peer] = {start for start, _ in side_pieces(self._schema.side_nbytes)}
        if self._me in self._contributors:
            for piece in self._mine:
                self._columns[piece][self._me] = tuple(self._own.segments.values())[piece.segment][
                    piece.start : piece.stop
                ]
            if self._schema.side:
                self._sides[self._me][:] = self._own.pack_side()
                self._side_left[self._me].clear()
        for piece in self._mine:
            self._merge_if_complete(piece)
        self._merge_side_if_complete()
        if self._rule.scope is Scope.GRAM:
            self._gram_if_complete()

    def _take_contribution(self, sender: PeerId, segment: int, start: int, payload: memoryview) -> None:
        piece = self._reduced.get((segment, start))
        if piece is None or sender not in self._contributors or sender in self._columns[piece]:
            raise ExchangeError(f"{sender} sent a contribution that nobody waits for (segment {segment}, {start})")
        values = values_of(payload, self._dtypes[segment], piece.size)
        if not is_finite(values):
            raise ExchangeError(f"{sender} offered finite weights and sent NaN or infinity")
        self._columns[piece][sender] = values.copy()
        self._merge_if_complete(piece)
        if self._rule.scope is Scope.GRAM:
            self._gram_if_complete()

    def _take_result(self, sender: PeerId, segment: int, start: int, payload: memoryview) -> None:
        piece = self._owed[sender].get((segment, start))
        if piece is None:
            raise ExchangeError(f"{sender} sent a result that it does not owe (segment {segment}, {start})")
        values = values_of(payload, self._dtypes[segment], piece.size)
        if not is_finite(values):
            raise ExchangeError(f"{sender} merged finite weights to NaN or infinity")
        self._segments[segment][piece.start : piece.stop] = values
        del self._owed[sender][segment, start]

    def _take_side(self, sender: PeerId, start: int, payload: memoryview) -> None:
        left = self._side_left.get(sender, set())
        stop = min(start + len(payload), self._schema.side_nbytes)
        if start not in left or (start, stop) not in set(side_pieces(self._schema.side_nbytes)):
            raise ExchangeError(f"{sender} sent a piece of a side block that nobody waits for")
        self._sides[sender][start:stop] = payload
        left.discard(start)
        if not left and not self._side_of(sender).side_finite():
            raise ExchangeError(f"{sender} offered finite weights and sent NaN or infinity")
        self._merge_side_if_complete()

    # Merging ---------------------------------------------------------------------------------------------------------

    def _merge_if_complete(self, piece: Piece) -> None:
        if self._rule.scope is not Scope.GRAM and len(self._columns[piece]) == len(self._contributors):
            self._publish(piece, self._rule.merge(self._ordered(piece), self._weights))

    def _ordered(self, piece: Piece) -> list[Array]:
        columns = self._columns[piece]
        return [columns[peer] for peer in self._contributors]

    def _publish(self, piece: Piece, merged: Array) -> None:
        target = self._segments[piece.segment][piece.start : piece.stop]
        target[...] = merged
        self._columns[piece] = dict.fromkeys(self._contributors, target[:0])
        self._unmerged -= 1
        for queue in self._results_out.values():
            queue.append(frame(Kind.RESULT, piece.segment, piece.start, target))

    def _merge_side_if_complete(self) -> None:
        if self._side_merged or any(self._side_left.values()):
            return
        sides = [self._side_of(peer).side for peer in self._contributors]
        robust = self._rule.robust
        merged, self.constants_differing = merge_side(self._schema, sides, self._weights, self._own.side, robust=robust)
        for array, values in zip(self._result.side, merged, strict=True):
            array[...] = values
        self._sides.clear()
        self._side_merged = True

    def _side_of(self, peer: PeerId) -> ModelState:
        state = ModelState(self._schema, {}, [np.empty_like(array) for array in self._own.side])
        state.unpack_side(memoryview(self._sides[peer]))
        return state

    # Rules that need distances between whole contributions -----------------------------------------------------------

    @property
    def _gram_settled(self) -> bool:
        return self._coefficients is not None

    def _gram_if_complete(self) -> None:
        wanted = len(self._contributors)
        if self._me in self._grams or any(len(columns) < wanted for columns in self._columns.values()):
            return
        gram = np.zeros((wanted, wanted))
        for piece in self._mine:
            gram += partial_gram(self._ordered(piece))
        self._grams[self._me] = gram
        if self._me == self._leader:
            self._coefficients_if_complete()
        else:
            self._results_out[self._leader].append(frame(Kind.GRAM, 0, 0, gram))

    def _take_gram(self, sender: PeerId, payload: memoryview) -> None:
        count = len(self._contributors)
        if self._rule.scope is not Scope.GRAM or self._me != self._leader or sender in self._grams:
            raise ExchangeError(f"{sender} sent a Gram matrix that nobody waits for")
        gram = values_of(payload, "float64", count * count).reshape(count, count).astype(np.float64)
        if not np.isfinite(gram).all():
            raise ExchangeError(f"{sender} sent a Gram matrix with NaN or infinity")
        if not np.allclose(gram, gram.T) or (gram.diagonal() < 0).any():
            raise ExchangeError(
                f"{sender} sent inner products that no vectors have: not symmetric, or negative squares"
            )
        self._grams[sender] = gram
        self._coefficients_if_complete()

    def _coefficients_if_complete(self) -> None:
        if len(self._grams) < len(self._members):
            return
        total = sum((self._grams[peer] for peer in self._members), np.zeros_like(self._grams[self._me]))
        coefficients = self._rule.coefficients(total, self._weights)
        for queue in self._results_out.values():
            queue.append(frame(Kind.COEFFICIENTS, 0, 0, coefficients))
        self._combine(coefficients)

    def _take_coefficients(self, sender: PeerId, payload: memoryview) -> None:
        if self._rule.scope is not Scope.GRAM or sender != self._leader or self._gram_settled:
            raise ExchangeError(f"{sender} sent coefficients that nobody waits for")
        coefficients = values_of(payload, "float64", len(self._contributors)).astype(np.float64)
        if not np.isfinite(coefficients).all():
            raise ExchangeError(f"{sender} sent coefficients with NaN or infinity")
        if abs(coefficients.sum() - 1) > ROUNDING:
            raise ExchangeError(f"{sender} sent coefficients with the sum {coefficients.sum():g} instead of 1")
        if self._me not in self._grams:
            raise ExchangeError(f"{sender} sent coefficients before this member's part of the Gram matrix")
        self._combine(coefficients)

    def _combine(self, coefficients: NDArray[np.float64]) -> None:
        self._coefficients = coefficients
        for piece in self._mine:
            self._publish(piece, combine(self._ordered(piece), coefficients))

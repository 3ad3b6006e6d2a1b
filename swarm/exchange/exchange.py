"""One member's part in the exchange of one attempt: reduce-scatter and all-gather, without I/O or threads.

Member j reduces the j-th slice of every segment: it takes that slice from each contributor, merges it chunk by chunk
in the fixed order of peers, and gives the result to everybody. So each member sends and receives 2(n-1)/n of the
model, the least that is possible for exact values, and every member assembles the same bytes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from functools import partial

from swarm.codec.base import unchanged
from swarm.errors import ExchangeError
from swarm.exchange.arrival import Arrival
from swarm.exchange.barrier import GramBarrier, Matrix
from swarm.exchange.coding import ChunkCoder
from swarm.exchange.layout import CHUNK_BYTES, HEADER, Chunk, FrameKind, Head, frame, open_head, slice_chunks
from swarm.exchange.merged import MergedModel
from swarm.exchange.merging import ChunkMerger
from swarm.exchange.owed import Owed
from swarm.exchange.reduce_buffer import ReduceBuffer, bytes_ahead
from swarm.exchange.sideblock import SideBlocks
from swarm.merge import spectral
from swarm.merge.base import MergeRule, Scope
from swarm.merge.mean import WeightedMean
from swarm.merge.screen import Distance
from swarm.merge.steps import step_factors
from swarm.messages import PartialNorm, Proposal
from swarm.outer.step import OuterStep
from swarm.records import PeerId
from swarm.tensors.buffers import BufferPool
from swarm.tensors.capture import Capture
from swarm.tensors.state import MOMENTS, Array, ModelState, Schema, as_bytes, dtype_name, is_finite

OutFrame = tuple[bytes, memoryview]
HANDED_ON = WeightedMean()


class Exchange:
    """What this member has received, merged and still has to send under one attempt.

    ``next_frame`` gives the frames to send, on one thread per receiver. A frame that comes in is taken in three
    steps: ``begin``, ``check`` once its memory is filled, and ``end``; a chunk that is then complete is taken in two
    more, ``merge`` and ``publish``. None of them blocks. ``next_frame``, ``check`` and ``merge`` may run at the same
    time as everything else, and once it is ``done`` so may what tells of the result; for the others the caller holds a
    lock. ``own`` is only read, and must not change until the exchange is over.
    """

    def __init__(
        self,
        me: PeerId,
        proposal: Proposal,
        rule: MergeRule,
        own: Capture,
        coder: ChunkCoder | None = None,
        memory: BufferPool | None = None,
        parent: ModelState | None = None,
        outer: OuterStep | None = None,
        normalize_steps: bool = False,
    ) -> None:
        """Nothing has come in yet but what this peer has itself.

        Args:
            me: this peer.
            proposal: the attempt.
            rule: how weights are merged.
            own: what this peer offers.
            coder: how chunks travel; as they are by default.
            memory: for the result and for what comes in.
            parent: the model of the round before, if there is one; the coder's is the same.
            outer: makes the model that is committed of what is merged; None where that is the same.
            normalize_steps: whether contributions are merged as if all had made as many steps.
        """
        self._me = me
        self._members = proposal.group
        self._leader = proposal.attempt.leader
        # What one peer hands to all is not merged: no rule may change it.
        merges = bool(proposal.parent and proposal.contributors)
        self._rule = rule if merges else HANDED_ON
        self._stands = bool(proposal.parent) and not merges
        """Whether nobody contributes: the last model stands, and one member sends it to all."""
        self._own = own
        self._coder = coder or ChunkCoder()
        self._memory = memory or BufferPool(0)
        self._schema: Schema = own.schema
        self._contributors = proposal.senders
        self._weights = [entry.weight for entry in proposal.entries if entry.weight > 0]
        result = self._memory.model(self._schema)
        self._segments = tuple(result.segments.values())
        self._moments = self._schema.moments
        place = {peer: index for index, peer in enumerate(self._members)}
        if not proposal.moments:
            self._keep_moments(parent)
        count, merged = len(place), bool(proposal.moments)
        chunks = {peer: slice_chunks(self._schema, place[peer], count, moments=merged) for peer in self._members}
        self._mine = chunks[me]
        # The closing model is what peers have trained, not a step beyond it.
        steps = outer is not None and merges and not proposal.closing
        # One contribution stays as it is, and so do the vectors that belong to its weights.
        refreshes = bool(self._schema.spectral) and (steps or len(self._contributors) > 1)

        def finish(merged: ModelState) -> ModelState:
            model = outer.committed(merged, parent, self._memory, steps=steps) if outer else merged
            if refreshes:
                model = model.copy()
                spectral.refresh(model)
            return model

        self._merged = MergedModel(result, chunks.values(), finish if outer or refreshes else None)
        others = [peer for peer in self._members if peer != me]
        self._expected: dict[PeerId, dict[tuple[FrameKind, int, int], Chunk]] = {
            peer: {(FrameKind.RESULT, p.segment, p.start): p for p in chunks[peer]} for peer in others
        }
        """Chunks that did not begin to arrive."""
        self._results_left = {peer: sum(chunk.nbytes(self._schema) for chunk in chunks[peer]) for peer in others}
        """Bytes of the values that are not here."""
        self._sends_moments = me in proposal.moments
        for peer in {*self._contributors} - {me}:
            self._expected[peer] |= {
                (FrameKind.CONTRIBUTION, p.segment, p.start): p
                for p in self._mine
                if p.segment != self._moments or peer in proposal.moments
            }
        # A barrier waits for everything of everybody.
        ahead = math.inf if self._rule.scope is Scope.GRAM else bytes_ahead(self._schema)
        self._reduce_buffer = ReduceBuffer(
            self._mine, self._contributors, me, own, self._coder, ahead, proposal.moments
        )
        weights, before = dict(zip(self._contributors, self._weights, strict=True)), parent.side if parent else None
        entries = [entry for entry in proposal.entries if entry.weight > 0]
        factors: dict[PeerId, float] = {}
        if normalize_steps and merges:
            steps_made = [entry.steps for entry in entries]
            factors = dict(zip(self._contributors, step_factors(self._weights, steps_made), strict=True))
        self._merger = ChunkMerger(self._rule, weights, self._reduce_buffer, self._coder, result, self._memory, factors)
        self._unmerged = len(self._mine)
        self._side = SideBlocks(
            self._schema, me, own.side, weights, proposal.source, before, result.side, proposal.moments
        )
        self._side_merged = not self._schema.side
        gram = self._rule.scope is Scope.GRAM
        training = {place: entry.steps for place, entry in enumerate(entries) if not entry.status.finished}
        self._barrier = GramBarrier(self._rule, self._members, self._weights, training) if gram else None
        self._results_out: dict[PeerId, deque[OutFrame]] = {peer: deque() for peer in others}
        self._sent_results = dict.fromkeys(others, 0)
        self._contributions_out = {peer: self._contribution(chunks[peer]) for peer in others}
        self._contributed: set[PeerId] = set()
        self._begin()

    # What is left ----------------------------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether the whole merged model is assembled here."""
        return self._unmerged == 0 and self._side_merged and not any(self._results_left.values())

    def sent(self, to: PeerId) -> bool:
        """Whether everything that ``to`` needs from this member was handed out."""
        results = self._sent_results[to] == len(self._mine)
        settled = self._barrier is None or self._barrier.coefficients is not None
        return to in self._contributed and results and settled and not self._results_out[to]

    def waiting(self, to: PeerId) -> bool:
        """Whether there is no frame for ``to`` at present, and will be one."""
        return to in self._contributed and not self._results_out[to] and not self.sent(to)

    def result(self) -> ModelState:
        """The merged model; only when ``done``."""
        return self._finished.model()

    def digest(self) -> str:
        """That of the merged model; only when ``done``."""
        return self._finished.digest()

    def slice_digests(self) -> tuple[str, ...]:
        """Those of the merged slices, in the order of the members; see ``MergedModel``. Only when ``done``."""
        return self._finished.slice_digests()

    @property
    def _finished(self) -> MergedModel:
        if not self.done:
            raise ExchangeError("the exchange is not complete")
        return self._merged

    def partial_norms(self) -> tuple[PartialNorm, ...]:
        """How far each contribution is from the parent model within this member's slice; only when ``done``.

        Empty where there is no parent.
        """
        return self._reduce_buffer.norms()

    def absurd_moments(self) -> frozenset[PeerId]:
        """Whose moments of optimizers this member left out as far larger than those of the others; when ``done``."""
        return frozenset(self._merger.absurd)

    def far(self) -> dict[PeerId, Distance]:
        """At the leader: whose contributions a check of distances has left out; when ``done``."""
        found = self._barrier.far if self._barrier else {}
        return {self._contributors[place]: distance for place, distance in found.items()}

    def owed(self) -> Owed | None:
        """What is missing here: of what depends on one another, the first. None once nothing is."""
        contributions = self._side.missing()
        contributions.update(self._reduce_buffer.missing())
        if contributions:
            return Owed("its contribution", 1, contributions)
        barrier = self._barrier
        if barrier and barrier.coefficients is None and self._me == self._leader:
            parts = {peer for peer in self._members if not barrier.has(peer)}
            return Owed("its part of the Gram matrix", 2, dict.fromkeys(parts, barrier.part_nbytes))
        if barrier and barrier.coefficients is None:
            return Owed("the coefficients", 3, {self._leader: barrier.coefficients_nbytes})
        results = {peer: left for peer, left in self._results_left.items() if left}
        return Owed("its merged chunks", self.last_turn, results) if results else None

    @property
    def last_turn(self) -> int:
        """The turn of merged chunks, see :class:`Owed`."""
        return 4 if self._barrier else 2

    @property
    def nbytes(self) -> int:
        """Upper bound on the bytes of values that this member sends, and on those that it receives."""
        return 2 * self._schema.nbytes + len(self._members) * self._schema.side_nbytes

    # Out -------------------------------------------------------------------------------------------------------------

    def next_frame(self, to: PeerId) -> OutFrame | None:
        """The next frame for ``to``, or None when there is none at present.

        What others wait for comes first: were results sent between contributions, a link would stand idle at the end
        of an exchange, while the last chunks are on their way to their owner.
        """
        contribution = next(self._contributions_out[to], None)
        if contribution is not None:
            return contribution
        self._contributed.add(to)
        if not self._results_out[to]:
            return None
        out = self._results_out[to].popleft()
        if out[0][0] == FrameKind.RESULT:
            self._sent_results[to] += 1
        return out

    def _contribution(self, chunks: tuple[Chunk, ...]) -> Iterator[OutFrame]:
        if self._me not in self._contributors:
            return
        for kind, start, payload in self._side.chunks():
            yield frame(kind, 0, start, payload)
        for chunk in chunks:
            if chunk.segment == self._moments and not self._sends_moments:
                continue
            owned = partial(self._reduce_buffer.owned, chunk)
            yield frame(FrameKind.CONTRIBUTION, chunk.segment, chunk.start, self._coder.encode(chunk, owned(), owned))

    def room(self, sender: PeerId) -> bool:
        """Whether a frame of ``sender`` should be taken now, rather than when those behind it have come nearer."""
        return self._reduce_buffer.room(sender)

    # In --------------------------------------------------------------------------------------------------------------

    def receive(self, sender: PeerId, data: memoryview) -> None:
        """Take one joined frame from a member; its memory may be reused afterwards.

        Raises:
            ExchangeError: it contradicts the schema or the proposal, comes twice, or holds NaN or infinity.
        """
        payload = data[HEADER.size :]
        arrival = self.begin(sender, open_head(data), len(payload))
        arrival.payload[:] = payload
        self.check(arrival)
        chunk = self.end(arrival)
        if chunk:
            self.publish(chunk, self.merge(chunk))

    def begin(self, sender: PeerId, head: Head, nbytes: int) -> Arrival:
        """A frame with ``nbytes`` of payload comes: memory for it, once it is clear that it belongs here.

        Raises:
            ExchangeError: nobody waits for this frame, or not any more, or it has another length.
        """
        kind, segment, start = head.kind, head.segment, head.start
        if sender not in self._expected:
            raise ExchangeError(f"{sender} is no member of this group")
        if kind not in (FrameKind.CONTRIBUTION, FrameKind.RESULT):
            if nbytes > max(CHUNK_BYTES, self._barrier.part_nbytes if self._barrier else 0):
                raise ExchangeError(f"{sender} sent a frame of kind {kind.name} with {nbytes} bytes")
            return Arrival(sender, head, memoryview(bytearray(nbytes)))
        chunk = self._expected[sender].pop((kind, segment, start), None)
        if chunk is None:
            contributes = kind is FrameKind.CONTRIBUTION
            what = "a contribution that nobody waits for" if contributes else "a result that it does not owe"
            raise ExchangeError(f"{sender} sent {what} (segment {segment}, {start})")
        target = self._segments[segment]
        dtype = dtype_name(target.dtype)
        arrival = Arrival(sender, head, memoryview(bytearray()), chunk)
        try:
            self._coder.require_length(chunk, dtype, nbytes)
        except ExchangeError as error:
            raise arrival.wrong(str(error)) from error
        values = target[chunk.start : chunk.stop] if kind is FrameKind.RESULT else self._memory.empty(chunk.size, dtype)
        arrival.values, arrival.verbatim = values, self._coder.verbatim(chunk, dtype, nbytes)
        if nbytes:
            arrival.payload = as_bytes(values) if arrival.verbatim else self._memory.empty(nbytes, "uint8").data
        return arrival

    def check(self, arrival: Arrival) -> None:
        """The payload is here: decode it, and refuse NaN and infinity unless they are found when it is merged.

        Raises:
            ExchangeError: there is one, the payload is not what the codec makes of such a chunk, or the chunk is not
                that of the last model, which stands.
        """
        chunk, values = arrival.chunk, arrival.values
        if chunk is None or values is None:
            return
        measured = self._coder.relative and chunk.segment != self._moments
        contributed = arrival.head.kind is FrameKind.CONTRIBUTION and measured
        finite = not arrival.verbatim
        if finite:
            try:
                self._coder.decode(chunk, arrival.payload, values)
            except ExchangeError as error:
                raise arrival.wrong(str(error)) from error
        if contributed and self._barrier is not None and arrival.payload:
            # The rule looks at all contributions before it merges any.
            arrival.squared = self._coder.squared_distance(chunk, values)
            finite = finite or math.isfinite(arrival.squared)
        elif contributed:
            finite = True  # or it is found when it is measured
        if not finite and not is_finite(values):
            raise arrival.wrong("NaN or infinity")
        if self._stands and not self._is_of_the_last_model(chunk, values):
            raise arrival.wrong("it differs from the last model, which nobody changes")
        if arrival.head.kind is FrameKind.RESULT:
            self._merged.stands(chunk)

    def _is_of_the_last_model(self, chunk: Chunk, values: Array) -> bool:
        origin = self._coder.origin(chunk)
        return origin is None or unchanged(values, origin)

    def end(self, arrival: Arrival) -> Chunk | None:
        """Take a frame that was checked; the chunk that is to be merged and published now, if there is one.

        Raises:
            ExchangeError: it carries no chunk, and nobody waits for it or it cannot be true.
            ContributionError: it was the last of the statistics, and those of a contributor are too large.
        """
        sender, chunk, values = arrival.sender, arrival.chunk, arrival.values
        if chunk is None or values is None:
            self._take_small(sender, arrival.head, arrival.payload)
            return None
        if arrival.head.kind is FrameKind.RESULT:
            self._results_left[sender] -= values.nbytes
            return None
        self._reduce_buffer.put(sender, chunk, values, arrival.squared)
        self._gram_if_complete()
        return chunk if self._complete(chunk) else None

    def _take_small(self, sender: PeerId, head: Head, payload: memoryview) -> None:
        if head.kind in (FrameKind.SIDE, FrameKind.STATE):
            self._side.take(sender, head.kind, head.start, payload)
            self._merge_side_if_complete()
        elif head.kind is FrameKind.GRAM:
            if self._barrier is None or self._me != self._leader:
                raise ExchangeError(f"{sender} sent a Gram matrix that nobody waits for")
            self._barrier.take(sender, payload)
            self._solve(self._barrier)
        else:
            if self._barrier is None or sender != self._leader:
                raise ExchangeError(f"{sender} sent coefficients that nobody waits for")
            if not self._barrier.has(self._me):
                raise ExchangeError(f"{sender} sent coefficients before this member's part of the Gram matrix")
            coefficients = self._barrier.accept(sender, payload)
            try:
                self._combine(coefficients)
            except ValueError as error:
                raise ExchangeError(f"{sender} sent coefficients that give NaN or infinity") from error

    # Merging ---------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        for chunk in self._mine:
            if self._complete(chunk):
                self.publish(chunk, self.merge(chunk))
        self._merge_side_if_complete()
        self._gram_if_complete()

    def _complete(self, chunk: Chunk) -> bool:
        """Whether a chunk can be merged by itself now. Under a barrier only moments are."""
        streamed = self._barrier is None or chunk.segment == self._moments
        return streamed and self._reduce_buffer.complete(chunk)

    def _keep_moments(self, parent: ModelState | None) -> None:
        """Nobody has optimizer state to merge: all keep that of the round before."""
        if self._moments is not None:
            self._segments[self._moments][...] = parent.segments[MOMENTS] if parent else 0

    def merge(self, chunk: Chunk) -> memoryview:
        """Merge a chunk of which every contribution is here, measuring each, and code it.

        Raises:
            ContributionError: one holds NaN or infinity, or values that are too large.
            ValueError: the rule gives NaN, infinity or no such chunk.
        """
        payload = self._merger.merge(chunk)
        self._merged.stands(chunk)
        return payload

    def publish(self, chunk: Chunk, payload: memoryview) -> None:
        """Give a merged chunk to everybody."""
        self._reduce_buffer.drop(chunk)
        self._unmerged -= 1
        for queue in self._results_out.values():
            queue.append(frame(FrameKind.RESULT, chunk.segment, chunk.start, payload))

    def _merge_side_if_complete(self) -> None:
        known = self._barrier is None or self._barrier.coefficients is not None
        if not self._side_merged and self._side.complete and known:
            self._side.merge(robust=self._rule.robust, without=self._barrier.unused if self._barrier else ())
            self._side_merged = True

    def _gram_if_complete(self) -> None:
        barrier = self._barrier
        if barrier is None or barrier.has(self._me) or self._reduce_buffer.missing():
            return
        part = self._merger.gram(chunk for chunk in self._mine if chunk.segment != self._moments)
        barrier.put(self._me, part)
        if self._me == self._leader:
            self._solve(barrier)
        else:
            self._results_out[self._leader].append(frame(FrameKind.GRAM, 0, 0, part))

    def _solve(self, barrier: GramBarrier) -> None:
        coefficients = barrier.solve()
        if coefficients is not None:
            for queue in self._results_out.values():
                queue.append(frame(FrameKind.COEFFICIENTS, 0, 0, coefficients))
            self._combine(coefficients)

    def _combine(self, coefficients: Matrix) -> None:
        self._merge_side_if_complete()
        for chunk in (chunk for chunk in self._mine if chunk.segment != self._moments):
            self._reduce_buffer.measure_own(chunk)
            payload = self._merger.combine(chunk, coefficients)
            self._merged.stands(chunk)
            self.publish(chunk, payload)

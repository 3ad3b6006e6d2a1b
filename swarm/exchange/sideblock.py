"""The side blocks of one attempt: statistics of every contributor, and the module state of one of them."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import accumulate

import numpy as np

from swarm.errors import ContributionError, ExchangeError
from swarm.exchange.layout import FrameKind, side_chunks
from swarm.merge.side import merge_statistics
from swarm.records import PeerId
from swarm.tensors.state import (
    Array,
    Schema,
    TensorKind,
    TensorSpec,
    as_bytes,
    numpy_dtype,
    pack,
    side_is_finite,
    unpack,
)

NOTHING = memoryview(b"")
Key = tuple[PeerId, FrameKind]
"""Whose tensors, and which: ``SIDE`` for statistics and counters, ``STATE`` for module state."""


class SideBlocks:
    """Collects the tensors of the side block chunk by chunk; every member takes them all and merges for itself."""

    def __init__(
        self,
        schema: Schema,
        me: PeerId,
        own: Sequence[Array],
        weights: Mapping[PeerId, int],
        source: PeerId,
        parent: Sequence[Array] | None,
        result: Sequence[Array],
        moments: Sequence[PeerId] = (),
    ) -> None:
        """Nothing has come in yet but what this peer has itself.

        Args:
            schema: of the model.
            me: this peer.
            own: the arrays of its side block.
            weights: of the contributors, in the order in which they are merged.
            source: the contributor whose module state all take.
            parent: the arrays of the side block of the model of the round before; None where there is none.
            result: where the merged side block goes.
            moments: the contributors whose optimizer state is merged.
        """
        self._me = me
        self._weights = weights if schema.side else {}
        self._result = result
        self._specs = {FrameKind.SIDE: schema.statistics, FrameKind.STATE: schema.module_state}
        self._places = {
            kind: [index for index, spec in enumerate(schema.side) if (spec.kind is TensorKind.STATE) == is_state]
            for kind, is_state in ((FrameKind.SIDE, False), (FrameKind.STATE, True))
        }
        self._stops = {kind: dict(side_chunks(specs.side_nbytes)) for kind, specs in self._specs.items()}
        self._moments = tuple(moments)
        self._parent = None if parent is None else self._of(FrameKind.STATE, parent)
        self._steps_before = None if parent is None else self._of(FrameKind.SIDE, parent)
        self._before = None if self._parent is None else _Run(self._parent)
        self._state = _Run(self._of(FrameKind.STATE, result))
        self._statistics: dict[PeerId, bytes | bytearray] = {}
        self._left: dict[Key, set[int]] = {}
        for peer in self._weights:
            if peer == me:
                self._statistics[peer] = pack(self._of(FrameKind.SIDE, own))
            else:
                self._statistics[peer] = bytearray(self._specs[FrameKind.SIDE].side_nbytes)
                self._left[peer, FrameKind.SIDE] = {*self._stops[FrameKind.SIDE]}
        self._sends_state = bool(self._weights) and source == me
        if self._sends_state:
            for target, array in zip(self._of(FrameKind.STATE, result), self._of(FrameKind.STATE, own), strict=True):
                target[...] = array
        elif self._weights:
            self._left[source, FrameKind.STATE] = {*self._stops[FrameKind.STATE]}
        self._unchanged = self._as_before() if self._sends_state else frozenset()

    @property
    def complete(self) -> bool:
        """Whether all of them are here."""
        return not any(self._left.values())

    def missing(self) -> Counter[PeerId]:
        """Whose tensors are not here whole, with the bytes that are missing."""
        missing: Counter[PeerId] = Counter()
        for (peer, kind), left in self._left.items():
            missing[peer] += sum(self._stops[kind][start] - start for start in left)
        return +missing

    def chunks(self) -> Iterator[tuple[FrameKind, int, memoryview]]:
        """What this peer sends to each of the others: kind, start and payload; nothing if it does not contribute."""
        if self._me in self._weights:
            packed = memoryview(self._statistics[self._me])
            for start, stop in self._stops[FrameKind.SIDE].items():
                yield FrameKind.SIDE, start, packed[start:stop]
        if self._sends_state:
            for start, stop in self._stops[FrameKind.STATE].items():
                yield FrameKind.STATE, start, NOTHING if start in self._unchanged else self._state.part(start, stop)

    def take(self, sender: PeerId, kind: FrameKind, start: int, payload: memoryview) -> None:
        """Take one chunk from a member.

        Raises:
            ExchangeError: nobody waits for it, or the tensors that it completes hold NaN or infinity.
        """
        left, stop = self._left.get((sender, kind), set()), self._stops[kind].get(start, start)
        unchanged = kind is FrameKind.STATE and not payload and self._before is not None
        if start not in left or (len(payload) != stop - start and not unchanged):
            raise ExchangeError(f"{sender} sent a chunk of a side block that nobody waits for")
        if kind is FrameKind.STATE:
            self._state.put(start, self._before.part(start, stop) if unchanged and self._before else payload)
        else:
            memoryview(self._statistics[sender])[start:stop] = payload
        left.discard(start)
        if not left and not self._is_sound(sender, kind):
            raise ExchangeError(f"{sender} offered finite weights and sent NaN or infinity")

    def merge(self, *, robust: bool, without: Collection[int] = ()) -> None:
        """Write what the statistics come to where the result belongs; only when complete.

        Args:
            robust: whether the rule limits bad contributions.
            without: places of contributors whose statistics are left out, as their weights are; not all.

        Raises:
            ContributionError: they come to NaN or infinity, though those of each contributor are finite.
        """
        schema = self._specs[FrameKind.SIDE]
        specs = schema.side
        statistics = [unpack(specs, block) for block in self._statistics.values()]
        with np.errstate(over="ignore", invalid="ignore"):  # checked below
            used = [place for place in range(len(statistics)) if place not in without]
            weights = [*self._weights.values()]
            given = [statistics[place] for place in used], [weights[place] for place in used]
            merged = merge_statistics(specs, *given, robust=robust)
        for place, spec in enumerate(specs):
            if spec.kind is TensorKind.STEPS:
                merged[place] = self._merged_steps(spec, place, statistics)
        if not side_is_finite(schema, merged):
            peer = max(zip(self._statistics, statistics, strict=True), key=lambda each: _reach(specs, each[1]))[0]
            raise ContributionError(peer, f"{peer} sent statistics that are too large to be merged")
        for target, array in zip(self._of(FrameKind.SIDE, self._result), merged, strict=True):
            target[...] = array

    def _merged_steps(self, spec: TensorSpec, place: int, statistics: Sequence[Sequence[Array]]) -> Array:
        """The step counters that belong to the merged moments: as before the round where nobody has any."""
        given = dict(zip(self._statistics, statistics, strict=True))
        if self._moments:
            merged: Array = np.maximum.reduce([given[peer][place] for peer in self._moments])
            return merged
        return self._steps_before[place] if self._steps_before else np.zeros(spec.shape, numpy_dtype(spec.dtype))

    def _is_sound(self, peer: PeerId, kind: FrameKind) -> bool:
        """Whether the tensors that have come may be merged."""
        if kind is FrameKind.STATE:
            return side_is_finite(self._specs[kind], self._of(kind, self._result), self._parent)
        return side_is_finite(self._specs[kind], unpack(self._specs[kind].side, self._statistics[peer]))

    def _as_before(self) -> frozenset[int]:
        """The chunks of module state that are equal to those of the parent model, by where they start."""
        before = self._before
        if before is None:
            return frozenset()
        chunks = self._stops[FrameKind.STATE].items()
        return frozenset(start for start, stop in chunks if _equal(self._state, before, start, stop))

    def _of(self, kind: FrameKind, side: Sequence[Array]) -> list[Array]:
        return [side[place] for place in self._places[kind]]


def _reach(specs: Sequence[TensorSpec], arrays: Sequence[Array]) -> float:
    """The largest variance that some statistics can lead to: one of them, or the square of a mean."""
    largest = 0.0
    for spec, array in zip(specs, arrays, strict=True):
        if spec.kind not in (TensorKind.COUNTER, TensorKind.STEPS):
            value = float(np.abs(array.astype(np.float64)).max(initial=0.0))
            largest = max(largest, value * value if spec.kind is TensorKind.MEAN else value)
    return largest


class _Run:
    """The memory of several arrays as one run of bytes, of which chunks are read and written in place."""

    def __init__(self, arrays: Sequence[Array]) -> None:
        self._views = [as_bytes(array) for array in arrays]
        self._starts = [*accumulate((len(view) for view in self._views), initial=0)]

    def spans(self, start: int, stop: int) -> Iterator[memoryview]:
        """Bytes ``start`` to ``stop``, array by array."""
        place = bisect_right(self._starts, start) - 1
        while start < stop:
            first, end = self._starts[place], min(stop, self._starts[place + 1])
            if end > start:
                yield self._views[place][start - first : end - first]
                start = end
            place += 1

    def part(self, start: int, stop: int) -> memoryview:
        """Bytes ``start`` to ``stop``: a view where one array has them all."""
        spans = list(self.spans(start, stop))
        return spans[0] if len(spans) == 1 else memoryview(b"".join(spans))

    def put(self, start: int, payload: memoryview) -> None:
        """Write ``payload`` from ``start`` on."""
        done = 0
        for span in self.spans(start, start + len(payload)):
            span[:] = payload[done : done + len(span)]
            done += len(span)


def _equal(one: _Run, other: _Run, start: int, stop: int) -> bool:
    pairs = zip(one.spans(start, stop), other.spans(start, stop), strict=True)
    return all(np.array_equal(np.frombuffer(ours, np.uint8), np.frombuffer(theirs, np.uint8)) for ours, theirs in pairs)

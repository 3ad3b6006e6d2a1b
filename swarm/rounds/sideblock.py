"""The side blocks of one attempt: statistics of every contributor, and the module state of one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from swarm.errors import ExchangeError
from swarm.merge.side import merge_statistics
from swarm.records import PeerId
from swarm.rounds.layout import Kind, side_pieces
from swarm.state import Array, Schema, TensorKind, TensorSpec, pack, side_is_finite, unpack

Key = tuple[PeerId, Kind]
"""Whose tensors, and which: ``SIDE`` for statistics and counters, ``STATE`` for module state."""


class SideBlocks:
    """Collects the tensors of the side block piece by piece; every member takes them all and merges for itself."""

    def __init__(
        self,
        schema: Schema,
        me: PeerId,
        own: Sequence[Array],
        weights: Mapping[PeerId, int],
        source: PeerId,
        parent: Sequence[Array] | None,
    ) -> None:
        """Nothing has come in yet but what this peer has itself.

        Args:
            schema: of the model.
            me: this peer.
            own: the arrays of its side block.
            weights: of the contributors, in the order in which they are merged.
            source: the contributor whose module state all take.
            parent: the arrays of the side block of the model of the round before; None where there is none.
        """
        self._schema = schema
        self._me = me
        self._weights = weights if schema.side else {}
        self._source = source
        self._parent = parent
        self._specs = {
            Kind.SIDE: [spec for spec in schema.side if spec.kind is not TensorKind.STATE],
            Kind.STATE: [spec for spec in schema.side if spec.kind is TensorKind.STATE],
        }
        sizes = {kind: sum(spec.nbytes for spec in specs) for kind, specs in self._specs.items()}
        self._stops = {kind: dict(side_pieces(size)) for kind, size in sizes.items()}
        self._before = None if parent is None else memoryview(pack(self._of(Kind.STATE, parent)))
        wanted: list[Key] = [(peer, Kind.SIDE) for peer in self._weights]
        if self._weights:
            wanted.append((source, Kind.STATE))
        self._blocks: dict[Key, bytes | bytearray] = {}
        self._left: dict[Key, set[int]] = {}
        for peer, kind in wanted:
            self._blocks[peer, kind] = pack(self._of(kind, own)) if peer == me else bytearray(sizes[kind])
            self._left[peer, kind] = set() if peer == me else {*self._stops[kind]}

    @property
    def complete(self) -> bool:
        """Whether all of them are here."""
        return not any(self._left.values())

    def missing(self) -> Iterator[PeerId]:
        """Whose tensors are not here whole."""
        return (peer for (peer, _), left in self._left.items() if left)

    def pieces(self) -> Iterator[tuple[Kind, int, memoryview]]:
        """What this peer sends to each of the others: kind, start and payload; nothing if it does not contribute."""
        for (peer, kind), block in self._blocks.items():
            if peer == self._me:
                packed = memoryview(block)
                for start, stop in self._stops[kind].items():
                    unchanged = kind is Kind.STATE and self._before and packed[start:stop] == self._before[start:stop]
                    yield kind, start, packed[start:start] if unchanged else packed[start:stop]

    def take(self, sender: PeerId, kind: Kind, start: int, payload: memoryview) -> None:
        """Take one piece from a member.

        Raises:
            ExchangeError: nobody waits for it, or the tensors that it completes hold NaN or infinity.
        """
        left, stop = self._left.get((sender, kind), set()), self._stops[kind].get(start, start)
        if not payload and kind is Kind.STATE and self._before:
            payload = self._before[start:stop]
        if start not in left or len(payload) != stop - start:
            raise ExchangeError(f"{sender} sent a piece of a side block that nobody waits for")
        block = self._blocks[sender, kind]
        if isinstance(block, bytearray):
            block[start:stop] = payload
        left.discard(start)
        if not left and not self._is_sound(sender, kind):
            raise ExchangeError(f"{sender} offered finite weights and sent NaN or infinity")

    def merge(self, *, robust: bool) -> list[Array]:
        """The arrays of the merged side block; only when complete."""
        statistics = [self._opened(peer, Kind.SIDE) for peer in self._weights]
        merged = iter(merge_statistics(self._specs[Kind.SIDE], statistics, [*self._weights.values()], robust=robust))
        state = iter(self._opened(self._source, Kind.STATE))
        return [next(state if spec.kind is TensorKind.STATE else merged) for spec in self._schema.side]

    def _is_sound(self, peer: PeerId, kind: Kind) -> bool:
        """Whether the tensors that have come may be merged."""
        before = None if self._parent is None else self._of(kind, self._parent)
        return side_is_finite(Schema(tuple(self._specs[kind])), self._opened(peer, kind), before)

    def _of(self, kind: Kind, side: Sequence[Array]) -> list[Array]:
        state = kind is Kind.STATE
        pairs = zip(self._schema.side, side, strict=True)
        return [array for spec, array in pairs if (spec.kind is TensorKind.STATE) is state]

    def _opened(self, peer: PeerId, kind: Kind) -> list[Array]:
        specs: Sequence[TensorSpec] = self._specs[kind]
        return unpack(specs, self._blocks[peer, kind])

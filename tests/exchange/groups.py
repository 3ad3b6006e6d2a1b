"""The members of a group as exchanges in memory, with frames carried between them in a given order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from swarm.exchange.coding import ChunkCoder
from swarm.exchange.exchange import Exchange, OutFrame
from swarm.exchange.layout import HEADER
from swarm.merge import MergeRule
from swarm.messages import Entry, Proposal
from swarm.outer import OuterStep
from swarm.records import Attempt, PeerStatus, SyncState
from swarm.tensors.state import ModelState, Schema, TensorKind, TensorSpec

SCHEMA = Schema(
    (
        TensorSpec("weight", (11, 3), "float32"),
        TensorSpec("running_mean", (3,), "float32", TensorKind.MEAN),
        TensorSpec("running_var", (3,), "float32", TensorKind.VARIANCE),
        TensorSpec("half", (5,), "bfloat16"),
        TensorSpec("seen", (), "int64", TensorKind.COUNTER),
        TensorSpec("scale", (2,), "float32", TensorKind.STATE),
        TensorSpec("bias", (7,), "float32"),
    )
)
TINY = Schema((TensorSpec("w", (2,), "float32"),))


def states(schema: Schema, count: int, seed: int = 0) -> dict[str, ModelState]:
    """What each of up to five peers holds."""
    rng = np.random.default_rng(seed)
    made = {}
    for name in ("ann", "bob", "cid", "dee", "eve")[:count]:
        state = ModelState.empty(schema)
        for _, array in state.arrays():
            array[...] = (10 * np.abs(rng.standard_normal(array.shape))).astype(array.dtype)
        made[name] = state
    return made


def proposal(weights: dict[str, int], leader: str = "ann") -> Proposal:
    """A first round of these peers, with these weights."""
    members = tuple(sorted(weights))
    return Proposal(
        lineage="line",
        round=1,
        attempt=Attempt(0, leader),
        parent="parent",
        voters=members,
        members=members,
        entries=tuple(Entry(peer, weights[peer], PeerStatus.TRAINING) for peer in members),
        sync=SyncState(8),
        closing=False,
    )


def before(rule: MergeRule, schema: Schema) -> ModelState | None:
    """The model of the round before, for a rule that needs it; else None."""
    return states(schema, 1, seed=9)["ann"] if rule.needs_reference else None


class ExchangeGroup:
    """All members of one group, with frames carried between them in a given order."""

    def __init__(
        self,
        held: dict[str, ModelState],
        weights: dict[str, int],
        rule: MergeRule,
        seed: int = 0,
        *,
        under: Proposal | None = None,
        parent: ModelState | None = None,
        outer: OuterStep | None = None,
    ) -> None:
        under = under or proposal(weights, leader=max(weights))
        parent = parent or before(rule, next(iter(held.values())).schema)
        coder = ChunkCoder(reference=parent)
        self.members = {
            peer: Exchange(peer, under, rule, held[peer], coder, parent=parent, outer=outer) for peer in weights
        }
        self.sent = dict.fromkeys(weights, 0)
        self._random = np.random.default_rng(seed)

    def run(self) -> None:
        """Carry one frame after the other, from a random member to a random one, until nothing is left to carry."""
        ways = [(source, to) for source in self.members for to in self.members if source != to]
        idle = 0
        while idle < 2:
            order = self._random.permutation(len(ways))
            moved = [self._carry(*ways[place]) for place in order]
            idle = 0 if any(moved) else idle + 1

    def _carry(self, source: str, to: str) -> bool:
        moved = False
        for _ in range(int(self._random.integers(1, 4))):
            out = self.members[source].next_frame(to)
            if out is None:
                break
            moved = True
            self.sent[source] += len(out[1])
            self.members[to].receive(source, joined(out))
        return moved


def joined(out: OutFrame) -> memoryview:
    """A frame as it arrives."""
    return memoryview(bytearray(out[0] + bytes(out[1])))


def made(kind: int, segment: int, start: int, payload: bytes) -> memoryview:
    """A frame of any content."""
    return memoryview(HEADER.pack(kind, segment, start) + payload)


def frames(exchange: Exchange, to: str) -> Iterator[OutFrame]:
    """All that ``exchange`` can send ``to`` a member now."""
    while (out := exchange.next_frame(to)) is not None:
        yield out

"""The difference of two models of which each process of a site has a shard, in rank 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm.tensors.state import ModelState

if TYPE_CHECKING:
    from swarm.tensors.shards import OtherShards
    from swarm.tensors.state import Array, Schema


class ShardStep(ModelState):
    """That of the shards of this process. The others compute theirs from the two models when it is added."""

    __slots__ = ("new", "old")

    def __init__(
        self, schema: Schema, segments: dict[str, Array], side: list[Array], new: OtherShards, old: OtherShards
    ) -> None:
        super().__init__(schema, segments, side)
        self.new = new
        self.old = old

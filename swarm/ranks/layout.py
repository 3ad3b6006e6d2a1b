"""Which process of a site has which rows of each tensor of its model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

from swarm.errors import ConfigurationError, ModelError
from swarm.tensors.state import Schema, TensorSpec

Rows = int | None
"""Rows of a tensor that a process has, of its first dimension; None where every process has all of it."""


class Place(NamedTuple):
    """One process's part of one tensor."""

    tensor: int
    """Its index in the schema of the whole model."""
    spec: TensorSpec
    """Of the part."""
    start: int
    """The first of its rows."""


class Layout:
    """The layout of a model over the processes of a site. What every process has belongs to the shard of rank 0."""

    def __init__(self, whole: Schema, rows: Sequence[Sequence[Rows]]) -> None:
        """Check what the processes say they have.

        Args:
            whole: the schema of the whole model.
            rows: by rank, and for each tensor of ``whole``, what that process has.

        Raises:
            ModelError: the parts of a tensor are not the tensor.
            ConfigurationError: a process has nothing, or a tensor cannot be exchanged in parts.
        """
        self.whole = whole
        self.ranks = len(rows)
        self.rows = [tuple(rows[rank][tensor] for rank in range(self.ranks)) for tensor in range(len(whole.tensors))]
        for spec, each in zip(whole.tensors, self.rows, strict=True):
            _check(spec, each)
        if whole.spectral:
            raise _impossible("the model has spectral normalisation, which needs whole weights")
        for rank in range(self.ranks):
            if not any(True for _ in self.places(rank)):
                raise _impossible(f"of {self.ranks} shards, that of rank {rank} has no part of the model")

    @classmethod
    def even(cls, whole: Schema, shards: int) -> Layout:
        """The layout that ``fully_shard`` of torch gives a model over so many processes, whoever has the shards here.

        Each has as many rows of a weight as the first, and the last ones what is left, which may be none. All have the
        weights without rows, and what is no weight.

        Raises:
            ConfigurationError: as the layout of processes; or there are too few rows for so many shards.
        """
        parts = [_even(spec, shards) for spec in whole.tensors]
        return cls(whole, [[part[rank] for part in parts] for rank in range(shards)])

    @property
    def told(self) -> str:
        """What sites compare: the number of processes, and a hash of the rows of each."""
        text = json.dumps(self.rows, separators=(",", ":"))
        return f"{self.ranks} shards, layout {hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def places(self, rank: int) -> Iterator[Place]:
        """The parts that a process exchanges, in the order of the tensors; none of them is empty."""
        for tensor, (spec, rows) in enumerate(zip(self.whole.tensors, self.rows, strict=True)):
            mine = rows[rank]
            if mine is None:
                if rank == 0 and spec.size:
                    yield Place(tensor, spec, 0)
                continue
            part = replace(spec, shape=(mine, *spec.shape[1:]), tied=())
            if part.size:
                yield Place(tensor, part, [*accumulate(count or 0 for count in rows)][rank] - mine)

    def shard(self, rank: int) -> Schema:
        """The schema of what a process exchanges."""
        return Schema(tuple(place.spec for place in self.places(rank)))

    def having(self, tensor: int) -> tuple[int, ...]:
        """The processes that exchange a part of a tensor, given by index; ``places`` has these parts."""
        spec, rows = self.whole.tensors[tensor], self.rows[tensor]
        if rows[0] is None or not spec.size:
            return (0,) if spec.size else ()
        return tuple(rank for rank, count in enumerate(rows) if count)

    def common(self) -> tuple[int, ...]:
        """The tensors that every process has, by index."""
        return tuple(
            index for index, rows in enumerate(self.rows) if rows[0] is None and self.whole.tensors[index].size
        )


def _even(spec: TensorSpec, shards: int) -> list[Rows]:
    if spec.in_side_block or not spec.shape:
        return [None] * shards
    most = -(-spec.shape[0] // shards)
    return [min(most, max(spec.shape[0] - most * rank, 0)) for rank in range(shards)]


def _check(spec: TensorSpec, rows: Sequence[Rows]) -> None:
    if any(tied.order is not None for tied in spec.tied):
        raise _impossible(f"{spec.name!r} is in the model a second time in another form")
    if all(count is None for count in rows):
        return
    known = [count for count in rows if isinstance(count, int) and count >= 0]
    if len(known) < len(rows) or not spec.shape or sum(known) != spec.shape[0]:
        raise ModelError(
            f"the parts of {spec.name!r} in the processes of this site are not the tensor: it has the shape "
            f"{list(spec.shape)}, and they have {', '.join(map(str, rows))} rows"
        )
    if spec.in_side_block:
        raise _impossible(f"{spec.name!r} is sharded, and is no weight")


def _impossible(why: str) -> ConfigurationError:
    return ConfigurationError(f"exchange_shards is not possible here: {why}; leave it out at every peer")

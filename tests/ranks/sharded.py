"""The model of the tests of shards, and what the processes of a site do with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from swarm.tensors.state import TensorKind
from tests.ranks.sites import ArrayShard, Rank

if TYPE_CHECKING:
    from swarm.tensors.state import Array

KINDS = {"mean": TensorKind.MEAN, "n": TensorKind.COUNTER, "table": TensorKind.STATE}
EACH = {"kinds": KINDS, "shard": ArrayShard, "exchange_shards": True}
"""Arguments of a site of which each process exchanges its own shard."""


def arrays(value: float) -> dict[str, Array]:
    """Arrays that have other numbers of rows than there are processes, none, one, or no dimension at all."""
    rows = np.arange(35, dtype=np.float32).reshape(7, 5)
    return {
        "w": rows + np.float32(value),
        "h": np.full(4, value, np.float16),
        "scale": np.array(value, np.float32),
        "mean": np.full(5, value, np.float32),
        "n": np.array(int(value)),
        "table": np.array([1, 2, 3]),
        "one": np.full((1, 2), value, np.float32),
        "none": np.zeros((0, 3), np.float32),
    }


def step(rank: Rank, batch: int) -> None:
    """What each process of a site does; what it does to the rows of others, nobody sees."""
    rank.model.arrays["w"] += np.float32(0.25 * (batch % 3))
    rank.model.arrays["h"] += np.float16(0.5)
    rank.model.arrays["n"] += 1


def trained(batches: int) -> Callable[[Rank], Rank]:
    """A training of so many batches."""

    def program(rank: Rank) -> Rank:
        rank.train(batches, step)
        return rank

    return program


def whole(ranks: Sequence[Rank]) -> dict[str, Array]:
    """The model of a site, put together from the rows of its processes."""
    found = {name: array.copy() for name, array in ranks[0].model.arrays.items()}
    for rank in ranks:
        spans = ArrayShard(rank.model, rank.group.rank, len(ranks)).spans()
        for place, span in zip(rank.model.schema().tensors, spans, strict=True):
            if span is not None:
                found[place.name][span] = rank.model.arrays[place.name][span]
    return found


def equal(one: Mapping[str, Array], other: Mapping[str, Array], *names: str) -> bool:
    """Whether two models have the same arrays of these names, or of all."""
    return all(np.array_equal(one[name], other[name]) for name in names or one)

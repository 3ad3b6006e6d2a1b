"""A whole model from the shards of all processes of a site, part by part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from swarm.tensors.state import as_bytes

if TYPE_CHECKING:
    from swarm.ranks.group import ProcessGroup
    from swarm.ranks.layout import Layout
    from swarm.tensors.state import ModelState

PART_BYTES = 4 << 20
"""Bytes of one process that are on their way at a time."""


def gathered(
    group: ProcessGroup, layout: Layout, model: ModelState, order: Sequence[int]
) -> Iterator[bytes | memoryview]:
    """The values of whole tensors, in parts; each process calls this, and reads all of it. Only rank 0 gets values.

    Args:
        group: of the site.
        layout: of the model.
        model: the shard of this process.
        order: the tensors, by index in the schema of the whole model.

    Raises:
        RanksError: a process is gone.
    """
    own = {place.tensor: array for place, (_, array) in zip(layout.places(group.rank), model.arrays(), strict=True)}
    parts = [{place.tensor: place.spec.nbytes for place in layout.places(rank)} for rank in range(layout.ranks)]
    for tensor in order:
        values = as_bytes(own[tensor]) if tensor in own else memoryview(b"")
        if group.rank == 0:
            yield values
        for rank in range(1, layout.ranks):
            for start in range(0, parts[rank].get(tensor, 0), PART_BYTES):
                given = group.gather(bytes(values[start : start + PART_BYTES]) if group.rank == rank else b"")
                if group.rank == 0:
                    yield given[rank]

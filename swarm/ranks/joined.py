"""A whole model whose shards are all in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from swarm.storage.files import stored_tensors
from swarm.tensors.state import Array, ModelState, TensorSpec, as_bytes

if TYPE_CHECKING:
    from swarm.ranks.layout import Layout

Shard = Iterator[tuple[TensorSpec, Array]]
"""The tensors of a shard with their values, in order."""


class JoinedModel(ModelState):
    """Has each tensor as a whole while its array is read, one at a time, in the order of the schema."""

    __slots__ = ("_layout", "_shards")

    def __init__(self, layout: Layout, shards: Callable[[], Sequence[Shard]]) -> None:
        """``shards`` gives the shards by rank, from the first tensor on."""
        super().__init__(layout.whole, {}, [])
        self._layout = layout
        self._shards = shards

    def arrays(self) -> Shard:
        """The tensors; to be read in order. They may be views of the shards, and must not be changed."""
        for spec, parts in zip(self.schema.tensors, self._parts(), strict=True):
            if len(parts) == 1:
                yield spec, parts[0]
            else:
                yield spec, np.concatenate(parts) if parts else np.empty(spec.shape, spec.dtype)

    def of_model(self) -> ModelState:
        """This one: shards have no state of optimizers."""
        return self

    def fill(self, arrays: Iterable[Array]) -> None:
        """Set the shards to the values of whole tensors, given in the order of the schema."""
        for spec, parts, array in zip(self.schema.tensors, self._parts(), arrays, strict=True):
            start, whole = 0, array.reshape(spec.shape)
            for part in parts:
                part[...] = whole[start : start + len(part)] if len(parts) > 1 else whole
                start += len(part) if len(parts) > 1 else 0

    def in_file(self) -> Iterator[memoryview]:
        """The values in the order of a file, for ``write_parts``; nothing is copied."""
        tensors = [*self._parts()]
        for _, index in stored_tensors(self.schema):
            yield from map(as_bytes, tensors[index])

    def _parts(self) -> Iterator[list[Array]]:
        """Of each tensor the parts in the shards, by rank; none is empty."""
        shards = self._shards()
        for tensor in range(len(self.schema.tensors)):
            yield [next(shards[rank])[1] for rank in self._layout.having(tensor)]

"""The model that an exchange assembles, with its digest and those of its slices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from swarm.exchange.layout import Chunk, byte_ranges
from swarm.tensors.state import ModelState


class MergedModel:
    """Its chunks become final in any order, on any thread; the other methods are for when all of it is.

    Args:
        memory: of the model, which others fill.
        slices: the chunks of each member's slice, in the order of the members.
        finish: what every member makes of the assembled model, whose memory it must not change, as frames that were not
            sent yet lie there; None where that is the merged model.
    """

    def __init__(
        self,
        memory: ModelState,
        slices: Iterable[Sequence[Chunk]],
        finish: Callable[[ModelState], ModelState] | None = None,
    ) -> None:
        self._model = memory
        self._itemsizes = [segment.itemsize for segment in memory.segments.values()]
        self._digest = memory.block_digest()
        self._slices = [byte_ranges(self._itemsizes, chunks) for chunks in slices]
        self._slice_digests: tuple[str, ...] = ()
        self._finish = finish

    def stands(self, chunk: Chunk) -> None:
        """A chunk is what it will be, and still in the cache: hash it."""
        itemsize = self._itemsizes[chunk.segment]
        self._digest.cover(chunk.segment, chunk.start * itemsize, chunk.stop * itemsize)

    def model(self) -> ModelState:
        """The whole model."""
        self._finished()
        return self._model

    def digest(self) -> str:
        """That of the whole model."""
        self._finished()
        return self._digest.hexdigest()

    def slice_digests(self) -> tuple[str, ...]:
        """Those of the slices as their owners gave them, in the order of the members.

        Where the digests of two members differ, these tell in whose slice, unless it is in the side block.
        """
        return self._slice_digests or tuple(map(self._digest.of_ranges, self._slices))

    def _finished(self) -> None:
        if self._finish:
            self._slice_digests = self.slice_digests()  # the weights may change
            model = self._finish(self._model)
            self._model, self._digest, self._finish = model, model.block_digest(), None

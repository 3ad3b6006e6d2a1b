"""The digest of a model, taken block by block, in any order, as its values come to hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import xxhash

BLOCK_BYTES = 1 << 16
"""Blocks begin at multiples of this in every segment: it is part of what a digest means."""


class BlockDigest:
    """xxh3-128 over the xxh3-128 of each block of each segment, and of each array beside them.

    What is in the cache when it is hashed costs next to nothing; a whole model would have to come from memory again.
    So whoever fills one tells what is ready, on any thread. That may be less than all, and must not be unready later.

    Args:
        segments: the memory of the segments, looked at by ``cover`` and ``hexdigest``.
        side: that of the arrays beside them, looked at by ``hexdigest``.
    """

    def __init__(self, segments: Sequence[memoryview], side: Iterable[memoryview] = ()) -> None:
        self._segments = segments
        self._side = tuple(side)
        self._hashes: list[list[bytes | None]] = [[None] * -(-len(segment) // BLOCK_BYTES) for segment in segments]

    def cover(self, segment: int, start: int, stop: int) -> None:
        """Bytes ``start`` to ``stop`` of a segment hold what they will hold: hash the blocks that lie within."""
        memory, hashes = self._segments[segment], self._hashes[segment]
        last = len(hashes) if stop == len(memory) else stop // BLOCK_BYTES
        for block in range(-(-start // BLOCK_BYTES), last):
            first = block * BLOCK_BYTES
            hashes[block] = xxhash.xxh3_128_digest(memory[first : first + BLOCK_BYTES])

    def hexdigest(self) -> str:
        """32 hexadecimal digits for all of it, which is ready by now."""
        whole = xxhash.xxh3_128()
        for memory, hashes in zip(self._segments, self._hashes, strict=True):
            for block, known in enumerate(hashes):
                first = block * BLOCK_BYTES
                whole.update(known or xxhash.xxh3_128_digest(memory[first : first + BLOCK_BYTES]))
        for memory in self._side:
            whole.update(xxhash.xxh3_128_digest(memory))
        return whole.hexdigest()

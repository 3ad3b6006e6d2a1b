"""The digest of a model, computed block by block in any order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import xxhash

BLOCK_BYTES = 1 << 16
"""Blocks begin at multiples of this in every segment. Changing it changes all digests."""


class BlockDigest:
    """xxh3-128 over the xxh3-128 of each block of each segment, and of each array of the side block.

    Hashing data that is still in the cache is cheap; hashing a whole model later reads it from memory again. So code
    that writes a part of a model calls ``cover`` for it, on any thread. Covered parts must not change afterwards.
    Parts that are not covered are hashed by ``hexdigest``.

    Args:
        segments: the memory of the segments, read by ``cover`` and ``hexdigest``.
        side: the memory of the side block, read by ``hexdigest``.
    """

    def __init__(self, segments: Sequence[memoryview], side: Iterable[memoryview] = ()) -> None:
        self._segments = segments
        self._side = tuple(side)
        self._hashes: list[list[bytes | None]] = [[None] * -(-len(segment) // BLOCK_BYTES) for segment in segments]

    def cover(self, segment: int, start: int, stop: int) -> None:
        """Hash the blocks within bytes ``start`` to ``stop`` of a segment, which are final."""
        memory, hashes = self._segments[segment], self._hashes[segment]
        last = len(hashes) if stop == len(memory) else stop // BLOCK_BYTES
        for block in range(-(-start // BLOCK_BYTES), last):
            first = block * BLOCK_BYTES
            hashes[block] = xxhash.xxh3_128_digest(memory[first : first + BLOCK_BYTES])

    def hexdigest(self) -> str:
        """The digest of the complete model, as 32 hexadecimal digits."""
        whole = xxhash.xxh3_128()
        for memory, hashes in zip(self._segments, self._hashes, strict=True):
            for block, known in enumerate(hashes):
                first = block * BLOCK_BYTES
                whole.update(known or xxhash.xxh3_128_digest(memory[first : first + BLOCK_BYTES]))
        for memory in self._side:
            whole.update(xxhash.xxh3_128_digest(memory))
        return whole.hexdigest()

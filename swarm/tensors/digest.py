"""The digest of a model: BLAKE3 over the BLAKE3 hashes of its blocks, computed in any order or run by run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from threading import Lock

from blake3 import blake3

BLOCK_BYTES = 1 << 18
"""Blocks begin at multiples of this in every segment. Changing it changes all digests.

Larger blocks cost fewer calls, each of which gives up Python's lock; smaller ones stay in the cache of one core.
"""


def block_ranges(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Bytes ``start`` to ``stop``, cut where blocks begin."""
    while start < stop:
        end = min((start // BLOCK_BYTES + 1) * BLOCK_BYTES, stop)
        yield start, end
        start = end


class BlockDigest:
    """The digest of memory that is filled in any order.

    It is the hash of the hashes of each block of each segment, and of each array of the side block.

    Hashing data that is still in the cache is cheap; hashing a whole model later reads it from memory again. So code
    that writes a part of a model calls ``cover`` for it, on any thread. Covered parts do not overlap, and must not
    change afterwards. Parts that are not covered are hashed by ``hexdigest``.

    Args:
        segments: the memory of the segments, read by all methods.
        side: the memory of the side block, read by ``hexdigest``.
    """

    def __init__(self, segments: Sequence[memoryview], side: Iterable[memoryview] = ()) -> None:
        self._segments = segments
        self._side = tuple(side)
        self._hashes: list[list[bytes | None]] = [[None] * -(-len(segment) // BLOCK_BYTES) for segment in segments]
        self._covered: dict[tuple[int, int], int] = {}
        """Bytes that are covered of blocks of which others are not, by segment and block."""
        self._lock = Lock()

    def cover(self, segment: int, start: int, stop: int) -> None:
        """Bytes ``start`` to ``stop`` of a segment are final: hash the blocks that are now covered as a whole."""
        for first, last in block_ranges(start, stop):
            block = first // BLOCK_BYTES
            if self._completes(segment, block, last - first):
                self._hashes[segment][block] = blake3(self._block(segment, block)).digest()

    def hexdigest(self) -> str:
        """The digest of the complete model, as 64 hexadecimal digits."""
        hashes = (self._hash(segment, block) for segment, each in enumerate(self._hashes) for block in range(len(each)))
        return _root(hashes, self._side)

    def of_ranges(self, ranges: Iterable[tuple[int, int, int]]) -> str:
        """The digest of parts of the model alone, as 64 hexadecimal digits; their memory must be filled.

        Equal parts at the same places have the same one, whatever the rest of the model is. Hashes of covered blocks
        are used again; at most a block at each end of a range is hashed.

        Args:
            ranges: segment, start and stop in bytes.
        """
        return _root(
            self._hash(segment, first // BLOCK_BYTES)
            if last - first == len(self._block(segment, first // BLOCK_BYTES))
            else blake3(self._segments[segment][first:last]).digest()
            for segment, start, stop in ranges
            for first, last in block_ranges(start, stop)
        )

    def _completes(self, segment: int, block: int, count: int) -> bool:
        """Note that ``count`` bytes of a block are final; whether all of it is now."""
        size = len(self._block(segment, block))
        if count == size:
            return True
        with self._lock:
            covered = self._covered.pop((segment, block), 0) + count
            if covered < size:
                self._covered[segment, block] = covered
        return covered == size

    def _hash(self, segment: int, block: int) -> bytes:
        return self._hashes[segment][block] or blake3(self._block(segment, block)).digest()

    def _block(self, segment: int, block: int) -> memoryview:
        return self._segments[segment][block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]


class RunDigest:
    """The same digest of values that come in the order of the schema, in arrays that lie anywhere."""

    def __init__(self) -> None:
        self._hashes: list[bytes] = []
        self._block = blake3()
        self._filled = 0
        self._segment = 0

    def add(self, segment: int, data: memoryview) -> None:
        """Add the next bytes of a segment, which must not go beyond the end of a block."""
        if segment != self._segment:
            self._end_block()
            self._segment = segment
        self._block.update(data)
        self._filled += len(data)
        if self._filled == BLOCK_BYTES:
            self._end_block()

    def hexdigest(self, side: Iterable[memoryview] = ()) -> str:
        """The digest after all segments, with the memory of the side block."""
        self._end_block()
        return _root(self._hashes, side)

    def _end_block(self) -> None:
        if self._filled:
            self._hashes.append(self._block.digest())
            self._block.reset()
            self._filled = 0


def _root(hashes: Iterable[bytes], side: Iterable[memoryview] = ()) -> str:
    whole = blake3()
    for each in hashes:
        whole.update(each)
    for memory in side:
        whole.update(blake3(memory).digest())
    return whole.hexdigest()

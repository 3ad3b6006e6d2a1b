"""How a model is cut for an exchange: a slice a member, chunks of bounded size a slice, and frames that carry them."""

from __future__ import annotations

import enum
import math
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import numpy as np

from swarm.errors import ExchangeError
from swarm.tensors.state import MOMENTS, Array, Schema, as_bytes, numpy_dtype, segment_dtype

CHUNK_BYTES = 2 << 20
"""Most bytes of a chunk: enough to hide the cost per message."""
CHUNKS = 4
"""A slice is cut into about so many at least, so that merging goes on while chunks come in ..."""
LEAST_BYTES = 1 << 18
"""... unless they would get smaller than this."""
HEADER = struct.Struct("<BB6xQ")
"""Kind, segment, start (elements of the segment; bytes for the side block). The transport states the size."""


class FrameKind(enum.IntEnum):
    """What a frame carries."""

    CONTRIBUTION = 1
    """A chunk of the sender's weights, to the member whose slice it is in."""
    RESULT = 2
    """A merged chunk, from the member whose slice it is in."""
    SIDE = 3
    """A chunk of the sender's statistics and counters; of a whole model, of its side block."""
    GRAM = 4
    """The sender's part of the Gram matrix, to the leader."""
    COEFFICIENTS = 5
    """The factors of the contributions, from the leader."""
    STATE = 6
    """A chunk of the module state, from the member whose state the round takes. Without payload: as in the model of the
    round before."""


@dataclass(frozen=True, slots=True, order=True)
class Chunk:
    """A run of elements of one segment."""

    segment: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.stop - self.start

    def nbytes(self, schema: Schema) -> int:
        """Bytes of its values in a model of ``schema``."""
        return self.size * numpy_dtype(segment_dtype(tuple(schema.segments)[self.segment])).itemsize


def slice_chunks(schema: Schema, member: int, members: int, *, moments: bool = True) -> tuple[Chunk, ...]:
    """The chunks of the slice that the ``member``-th of ``members`` reduces: an even share of every segment.

    Without ``moments``, that of optimizer state is left out.

    They end where large tensors do: what lies within one tensor is sent and merged where it lies, and not copied.
    """
    chunks = []
    for index, (segment, size) in enumerate(schema.segments.items()):
        if segment == MOMENTS and not moments:
            continue
        first, last = size * member // members, size * (member + 1) // members
        itemsize = numpy_dtype(segment_dtype(segment)).itemsize
        most = max(CHUNK_BYTES // itemsize, 1)
        usual = max(min(most, max(LEAST_BYTES // itemsize, (last - first) // CHUNKS)), 1)
        least = max(min(LEAST_BYTES // itemsize, usual), 1)
        start = first
        while start < last:
            stop = _end(schema.bounds[segment], start, last, (least, usual, most))
            chunks.append(Chunk(index, start, stop))
            start = stop
    return tuple(chunks)


def byte_ranges(itemsizes: Sequence[int], chunks: Iterable[Chunk]) -> tuple[tuple[int, int, int], ...]:
    """The bytes of a slice, given its chunks in order: segment, start and stop of its part of each segment.

    Args:
        itemsizes: bytes of a value of each segment.
        chunks: of the slice.
    """
    parts = {segment: list(each) for segment, each in groupby(chunks, attrgetter("segment"))}
    return tuple(
        (segment, part[0].start * itemsizes[segment], part[-1].stop * itemsizes[segment])
        for segment, part in parts.items()
    )


def _end(bounds: Sequence[int], start: int, last: int, sizes: tuple[int, int, int]) -> int:
    """Where a chunk from ``start`` ends, given where tensors do, and its least, usual and largest size."""
    least, usual, most = sizes
    large = max(least, usual // 2)
    stop = start
    while stop < last:
        left = min(bounds[bisect_right(bounds, stop)], last) - stop
        if left >= large and stop == start:
            parts = max(min(round(left / usual), left // least), math.ceil(left / most))
            return start + math.ceil(left / parts)
        if left >= large:
            return max(stop, start + least)  # before a large tensor, or not far into it
        if stop + left >= start + usual:
            return start + usual
        stop += left
    return stop


def side_chunks(nbytes: int) -> Iterator[tuple[int, int]]:
    """Start and stop, in bytes, of the chunks of a side block."""
    return ((start, min(start + CHUNK_BYTES, nbytes)) for start in range(0, nbytes, CHUNK_BYTES))


def frame(kind: FrameKind, segment: int, start: int, values: Array | memoryview) -> tuple[bytes, memoryview]:
    """Header and payload of a frame; the payload is the memory of ``values`` itself."""
    return HEADER.pack(kind, segment, start), values if isinstance(values, memoryview) else as_bytes(values)


@dataclass(frozen=True, slots=True)
class Head:
    """What the header of a frame says."""

    kind: FrameKind
    segment: int
    start: int


def open_head(data: memoryview) -> Head:
    """The header at the beginning of a frame.

    Raises:
        ExchangeError: it is cut short, or of no known kind.
    """
    if len(data) < HEADER.size:
        raise ExchangeError(f"a frame of {len(data)} bytes is shorter than its header")
    kind, segment, start = HEADER.unpack_from(data)
    try:
        return Head(FrameKind(kind), segment, start)
    except ValueError as error:
        raise ExchangeError(f"a frame of unknown kind {kind}") from error


def values_of(payload: memoryview, dtype: str, size: int) -> Array:
    """The payload as ``size`` values of ``dtype``, in the frame's own memory.

    Raises:
        ExchangeError: it has another length.
    """
    expected = size * numpy_dtype(dtype).itemsize
    if len(payload) != expected:
        raise ExchangeError(f"a chunk of {size} {dtype} takes {expected} bytes, not {len(payload)}")
    return np.frombuffer(payload, numpy_dtype(dtype))

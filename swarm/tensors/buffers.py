"""Memory for weights that goes round: fresh pages cost as much time as the network does."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from swarm.tensors.state import Array, ModelState, Schema, numpy_dtype

SMALL_BYTES = 8 << 20
"""Up to this, arrays are of a chunk, and of many sizes; what is larger is of a model."""


class BufferPool:
    """Arrays whose memory comes back by itself, once nothing refers to it any more, and is given out again.

    Args:
        limit: bytes kept at most while nobody uses them. Beyond it small arrays are let go before large ones, of the
            size that was asked for longest ago.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.kept = 0
        """Bytes that nobody uses at present."""
        self._lock = threading.RLock()  # memory may come back while the collector runs inside ``_take``
        self._free: dict[int, list[Array]] = {}
        """By size; that asked for last is the last."""

    def empty(self, size: int, dtype: str) -> Array:
        """An uninitialised array of ``size`` values."""
        kind = numpy_dtype(dtype)
        nbytes = size * kind.itemsize
        lease = _Lease(self, self._take(_rounded(nbytes)))
        return np.asarray(lease)[:nbytes].view(kind)

    def model(self, schema: Schema) -> ModelState:
        """Uninitialised buffers for ``schema``."""
        segments = {dtype: self.empty(size, dtype) for dtype, size in schema.segments.items()}
        return ModelState(schema, segments, [np.empty(spec.shape, numpy_dtype(spec.dtype)) for spec in schema.side])

    def _take(self, nbytes: int) -> Array:
        with self._lock:
            free = self._free[nbytes] = self._free.pop(nbytes, [])
            if free:
                self.kept -= nbytes
                return free.pop()
        return np.empty(nbytes, np.uint8)

    def give_back(self, memory: Array) -> None:
        """Keep memory that is free again."""
        with self._lock:
            self._free.setdefault(memory.nbytes, []).append(memory)
            self.kept += memory.nbytes
            if self.kept > self._limit:
                self._let_go()

    def _let_go(self) -> None:
        for size in sorted(self._free, key=lambda size: size > SMALL_BYTES):
            free = self._free[size]
            while free and self.kept > self._limit:
                self.kept -= free.pop().nbytes


def _rounded(nbytes: int) -> int:
    """Four sizes to each power of two for chunks, so that one serves where another was; models are of one size."""
    if nbytes > SMALL_BYTES:
        return nbytes
    step = 1 << max(nbytes.bit_length() - 3, 0)
    return -(-nbytes // step) * step


class _Lease:
    """What every view of an array from the pool refers to: when it goes, they are all gone."""

    def __init__(self, pool: BufferPool, memory: Array) -> None:
        self._pool = pool
        self._memory = memory
        self.__array_interface__: dict[str, Any] = memory.__array_interface__

    def __del__(self) -> None:
        self._pool.give_back(self._memory)

"""Reusable memory for weights: new pages cost as much time as the network."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from swarm.tensors.state import Array, ModelState, Schema, numpy_dtype, segment_dtype

SMALL_BYTES = 8 << 20
"""Arrays up to this size are chunks, of many sizes; larger ones are whole segments."""


class BufferPool:
    """Arrays whose memory returns to the pool when the last reference to it is gone, and is then reused.

    Args:
        limit: maximum bytes of unused memory. Above it small arrays are freed before large ones, least recently
            requested size first.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.kept = 0
        """Bytes of unused memory."""
        self._lock = threading.RLock()  # the garbage collector may return memory inside ``_take``
        self._free: dict[int, list[Array]] = {}
        """By size; the most recently requested size is last."""

    def empty(self, size: int, dtype: str) -> Array:
        """An uninitialised array of ``size`` values."""
        kind = numpy_dtype(dtype)
        nbytes = size * kind.itemsize
        lease = _Lease(self, self._take(_rounded(nbytes)))
        return np.asarray(lease)[:nbytes].view(kind)

    def model(self, schema: Schema) -> ModelState:
        """Uninitialised buffers for ``schema``."""
        segments = {name: self.empty(size, segment_dtype(name)) for name, size in schema.segments.items()}
        return ModelState(schema, segments, [np.empty(spec.shape, numpy_dtype(spec.dtype)) for spec in schema.side])

    def _take(self, nbytes: int) -> Array:
        with self._lock:
            free = self._free[nbytes] = self._free.pop(nbytes, [])
            if free:
                self.kept -= nbytes
                return free.pop()
        return np.empty(nbytes, np.uint8)

    def give_back(self, memory: Array) -> None:
        """Return unused memory to the pool."""
        with self._lock:
            self._free.setdefault(memory.nbytes, []).append(memory)
            self.kept += memory.nbytes
            if self.kept > self._limit:
                self._shrink()

    def _shrink(self) -> None:
        for size in sorted(self._free, key=lambda size: size > SMALL_BYTES):
            free = self._free[size]
            while free and self.kept > self._limit:
                self.kept -= free.pop().nbytes


def _rounded(nbytes: int) -> int:
    """Round chunk sizes up to four sizes per power of two, so that memory is reused more often."""
    if nbytes > SMALL_BYTES:
        return nbytes
    step = 1 << max(nbytes.bit_length() - 3, 0)
    return -(-nbytes // step) * step


class _Lease:
    """Base object of all views of an array from the pool; it is deleted when no view is left."""

    def __init__(self, pool: BufferPool, memory: Array) -> None:
        self._pool = pool
        self._memory = memory
        self.__array_interface__: dict[str, Any] = memory.__array_interface__

    def __del__(self) -> None:
        self._pool.give_back(self._memory)

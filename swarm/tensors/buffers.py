"""Reusable memory for weights: new pages cost as much time as the network."""

from __future__ import annotations

import threading
import weakref

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
        self._free: dict[int, list[memoryview]] = {}
        """By size; the most recently requested size is last."""
        self._leases: dict[int, weakref.ref[Array]] = {}
        """Of the memory that is in use, by id."""

    def empty(self, size: int, dtype: str) -> Array:
        """An uninitialised array of ``size`` values."""
        kind = numpy_dtype(dtype)
        nbytes = size * kind.itemsize
        memory = self._take(_rounded(nbytes))
        # All views of an array that is made from a memoryview refer to that array, which therefore goes last.
        array: Array = np.frombuffer(memory, kind, size)

        def give_back(lease: weakref.ref[Array]) -> None:
            del self._leases[id(lease)]
            self._keep(memory)

        lease = weakref.ref(array, give_back)
        self._leases[id(lease)] = lease
        return array

    def model(self, schema: Schema) -> ModelState:
        """Uninitialised buffers for ``schema``."""
        segments = {name: self.empty(size, segment_dtype(name)) for name, size in schema.segments.items()}
        return ModelState(schema, segments, [np.empty(spec.shape, numpy_dtype(spec.dtype)) for spec in schema.side])

    def _take(self, nbytes: int) -> memoryview:
        with self._lock:
            free = self._free[nbytes] = self._free.pop(nbytes, [])
            if free:
                self.kept -= nbytes
                return free.pop()
        return np.empty(nbytes, np.uint8).data

    def _keep(self, memory: memoryview) -> None:
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

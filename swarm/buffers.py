"""Memory for weights that goes round: fresh pages cost as much time as the network does."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from swarm.state import Array, ModelState, Schema, numpy_dtype


class BufferPool:
    """Arrays whose memory comes back by itself, once nothing refers to it any more, and is given out again.

    Args:
        limit: bytes kept at most while nobody uses them. With more coming back, what is of a size that is kept already
            is let go; where it is not, all the others are, since sizes have changed.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.kept = 0
        """Bytes that nobody uses at present."""
        self._lock = threading.RLock()  # memory may come back while the collector runs inside ``_take``
        self._free: dict[int, list[Array]] = {}

    def empty(self, size: int, dtype: str) -> Array:
        """An uninitialised array of ``size`` values."""
        kind = numpy_dtype(dtype)
        lease = _Lease(self, self._take(size * kind.itemsize))
        return np.asarray(lease).view(kind)

    def model(self, schema: Schema) -> ModelState:
        """Uninitialised buffers for ``schema``."""
        segments = {dtype: self.empty(size, dtype) for dtype, size in schema.segments.items()}
        return ModelState(schema, segments, [np.empty(spec.shape, numpy_dtype(spec.dtype)) for spec in schema.side])

    def _take(self, nbytes: int) -> Array:
        with self._lock:
            free = self._free.get(nbytes)
            if free:
                self.kept -= nbytes
                return free.pop()
        return np.empty(nbytes, np.uint8)

    def give_back(self, memory: Array) -> None:
        """Keep memory that is free again."""
        with self._lock:
            if self.kept + memory.nbytes > self._limit:
                if self._free.get(memory.nbytes):
                    return
                self._free.clear()
                self.kept = 0
            if memory.nbytes <= self._limit:
                self.kept += memory.nbytes
                self._free.setdefault(memory.nbytes, []).append(memory)


class _Lease:
    """What every view of an array from the pool refers to: when it goes, they are all gone."""

    def __init__(self, pool: BufferPool, memory: Array) -> None:
        self._pool = pool
        self._memory = memory
        self.__array_interface__: dict[str, Any] = memory.__array_interface__

    def __del__(self) -> None:
        self._pool.give_back(self._memory)

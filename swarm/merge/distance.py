"""Squared distance of two vectors, computed in blocks that fit into the cache."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from swarm.merge.blocks import CACHED_ELEMENTS, blocks
from swarm.tensors import kernels

if TYPE_CHECKING:
    from swarm.tensors.state import Array


def squared_distance(values: Array, origin: Array | None = None) -> float:
    """Squared Euclidean distance between two arrays of one length and dtype, or of one array from zero.

    Squares are summed in float32 within a block (in float64 for float64 values) and in float64 over the blocks. A block
    whose squares overflow is summed again in float64. So the result is NaN or infinite only if a value is, or if
    squares of float64 values overflow.
    """
    if kernels.native and (readable := kernels.readable(values, origin)):
        squared: float = kernels.native.squared_distance(*readable)
        return squared
    total, scratch = 0.0, np.empty(min(values.size, CACHED_ELEMENTS), _wide(values))
    with np.errstate(over="ignore", invalid="ignore"):
        for part in blocks(values.size):
            differences = scratch[: part.stop - part.start]
            np.subtract(values[part], 0 if origin is None else origin[part], out=differences, dtype=scratch.dtype)
            square = float(np.dot(differences, differences))
            if not math.isfinite(square):
                exact = np.subtract(values[part], 0 if origin is None else origin[part], dtype=np.float64)
                square = float(np.dot(exact, exact))
            total += square
    return total


def _wide(values: Array) -> type[np.float32 | np.float64]:
    return np.float64 if values.dtype == np.float64 else np.float32

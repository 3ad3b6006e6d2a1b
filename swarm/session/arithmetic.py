"""Arithmetic on whole models: norms and differences, in blocks that stay in the cache."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from swarm.state import Array, ModelState

BLOCK = 1 << 16
"""Elements handled at a time."""


def distance(model: ModelState, origin: ModelState) -> float:
    """Euclidean distance between the weights of two models; the side block does not count.

    Squares are summed in float32 within a block and in float64 from block to block. NaN or infinity where the
    weights of a model are not finite, and only there: a block whose squares overflow is summed again in float64.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return math.sqrt(
            sum(
                _square(model.segments[dtype][part], origin.segments[dtype][part], _wide(dtype))
                for dtype, part in _blocks(model)
            )
        )


def difference(new: ModelState, old: ModelState, *, into: ModelState | None = None) -> ModelState:
    """What takes a model from one committed model to another, for ``ModelPort.add``: weights new - old.

    The side block is that of ``new``, not a copy. Weights of half precision are given in float32, so that nothing is
    rounded before the sum is.

    Args:
        new: where to go.
        old: where from.
        into: whose memory is used as far as dtypes allow; may be ``old``.
    """
    segments: dict[str, Array] = {}
    for dtype, values in new.segments.items():
        wide = _wide(dtype)
        segments[dtype] = into.segments[dtype] if into and values.dtype == wide else np.empty(values.size, wide)
    with np.errstate(over="ignore", invalid="ignore"):
        for dtype, part in _blocks(new):
            np.subtract(
                new.segments[dtype][part], old.segments[dtype][part], out=segments[dtype][part], dtype=_wide(dtype)
            )
    return ModelState(new.schema, segments, new.side)


def _blocks(model: ModelState) -> Iterator[tuple[str, slice]]:
    for dtype, segment in model.segments.items():
        for start in range(0, segment.size, BLOCK):
            yield dtype, slice(start, start + BLOCK)


def _square(one: Array, other: Array, wide: type[np.float32 | np.float64]) -> float:
    difference = np.subtract(one, other, dtype=wide)
    square = float(np.dot(difference, difference))
    if math.isfinite(square) or wide is np.float64:
        return square
    return _square(one, other, np.float64)


def _wide(dtype: str) -> type[np.float32 | np.float64]:
    """In what to compute with values of a dtype."""
    return np.float64 if dtype == "float64" else np.float32

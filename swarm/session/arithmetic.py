"""Arithmetic on whole models: norms and differences, in blocks that stay in the cache."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from swarm.merge.distance import squared_distance
from swarm.tensors.capture import Capture
from swarm.tensors.state import MOMENTS, Array, ModelState

BLOCK = 1 << 16
"""Elements handled at a time."""


def distance(model: Capture, origin: ModelState) -> float:
    """Euclidean distance between the weights of two models; the side block and moments do not count.

    NaN or infinity where the weights of a model are not finite, and only there; see ``squared_distance``.
    """
    return math.sqrt(
        sum(
            squared_distance(values, origin.part(index, start, start + values.size))
            for index, start, values in model.runs()
            if index != origin.schema.moments
        )
    )


def difference(new: ModelState, old: Capture, *, into: ModelState | None = None) -> ModelState:
    """The difference of two models, for ``ModelPort.add``: the weights of ``new`` minus those of ``old``.

    The side block and the moments are those of ``new``, not a copy. Weights of half precision are given in float32, so
    that nothing is rounded before the sum is.

    Args:
        new: the model to reach.
        old: the model to start from.
        into: its memory is used where the dtypes allow that; may be ``old``.
    """
    segments: dict[str, Array] = {}
    for name, values in new.segments.items():
        wide = _wide(name)
        if name == MOMENTS:
            segments[name] = values
        else:
            segments[name] = into.segments[name] if into and values.dtype == wide else np.empty(values.size, wide)
    with np.errstate(over="ignore", invalid="ignore"):
        for index, start, stop in _parts(new):
            out = tuple(segments.values())[index][start:stop]
            # The output is in the wide dtype, and so is the subtraction.
            np.subtract(new.part(index, start, stop), old.part(index, start, stop), out=out, dtype=out.dtype)
    return ModelState(new.schema, segments, new.side)


def _parts(model: ModelState) -> Iterator[tuple[int, int, int]]:
    """Runs of the weights of a model: segment, start and stop."""
    for index, segment in enumerate(model.segments.values()):
        if index == model.schema.moments:
            continue
        for start in range(0, segment.size, BLOCK):
            yield index, start, min(start + BLOCK, segment.size)


def _wide(segment: str) -> type[np.float32 | np.float64]:
    """The dtype for computations with weights of a segment."""
    return np.float64 if segment == "float64" else np.float32

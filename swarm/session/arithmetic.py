"""Arithmetic on whole models: what an offer says of a capture, and differences, in blocks that stay in the cache."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from swarm.merge.distance import squared_distance
from swarm.tensors.capture import Capture, block_runs
from swarm.tensors.digest import RunDigest
from swarm.tensors.shard_step import ShardStep
from swarm.tensors.shards import ShardMeasurement, joint_digest
from swarm.tensors.state import MOMENTS, Array, ModelState, TensorKind, TensorSpec, as_bytes, is_finite, side_is_finite

BLOCK = 1 << 16
"""Elements handled at a time."""


class Measurement(NamedTuple):
    """What one pass over a capture finds."""

    root: str
    """Digest of all its values, those of the side block and moments included: that of a copy, as ``ModelState`` has."""
    finite: bool
    """Whether it may be merged: see ``measure``."""
    norm: float
    """Euclidean distance of its weights from the origin; 0 without an origin, or if it is not finite."""
    moments_finite: bool
    """Whether all moments of the optimizer are finite."""


def measure(capture: Capture, origin: ModelState | None = None) -> Measurement:
    """The digest of a capture, its distance from ``origin``, and whether it is finite.

    It is finite if its weights and statistics are, and if its module state has no NaN that that of ``origin`` has not.
    Moments do not count. The squares of float64 weights must not overflow either; see ``squared_distance``.
    """
    digest, squared, finite, moments_finite = RunDigest(), 0.0, True, True
    for segment, start, values in block_runs(capture):
        if segment == capture.schema.moments:
            moments_finite = moments_finite and is_finite(values)
        elif origin is None:
            finite = finite and is_finite(values)
        else:
            squared += squared_distance(values, origin.part(segment, start, start + values.size))
        digest.add(segment, as_bytes(values))  # last: what has just been read is in the cache
    root = digest.hexdigest(as_bytes(array) for array in capture.side)
    sound = side_is_finite(capture.schema, capture.side, origin.side if origin else None)
    finite = finite and math.isfinite(squared) and sound
    return Measurement(root, finite, math.sqrt(squared) if finite else 0.0, moments_finite)


def joint(own: Measurement, others: Sequence[ShardMeasurement]) -> Measurement:
    """What the processes of a site find of a capture of which each has a shard, by rank."""
    if not others:
        return own
    finite = own.finite and all(each.finite for each in others)
    norm = math.hypot(own.norm, *(each.norm for each in others))
    root = joint_digest([own.root, *(each.root for each in others)])
    return Measurement(root, finite, norm if finite else 0.0, own.moments_finite)


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
    if isinstance(old, ModelState) and new.others and old.others:
        return ShardStep(new.schema, segments, new.side, new.others, old.others)
    return ModelState(new.schema, segments, new.side)


def differences(new: ModelState, old: ModelState) -> Iterator[tuple[TensorSpec, Array]]:
    """The same difference, tensor by tensor: only that of one tensor is in memory."""
    with np.errstate(over="ignore", invalid="ignore"):
        for (spec, values), (_, before) in zip(new.arrays(), old.arrays(), strict=True):
            if spec.kind is TensorKind.WEIGHT:
                yield spec, np.subtract(values, before, dtype=_wide(spec.segment))
            else:
                yield spec, values


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

"""Arithmetic on whole models, on the training thread: norms and corrections, in blocks that stay in the cache."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from swarm.state import ModelState, TensorKind

BLOCK = 1 << 18
"""Elements handled at a time."""


def distance(model: ModelState, origin: ModelState) -> float:
    """Euclidean distance between the weights of two models, in float64; the side block does not count."""
    total = 0.0
    for dtype, part in _blocks(model):
        difference = model.segments[dtype][part].astype(np.float64) - origin.segments[dtype][part].astype(np.float64)
        total += float(difference @ difference)
    return math.sqrt(total)


def move(model: ModelState, old: ModelState, new: ModelState) -> None:
    """Take ``model`` from one committed model to another and keep its own steps: weights += new - old, in place.

    Statistics, counters and buffers become those of ``new``; constants stay as they are.
    """
    for dtype, part in _blocks(model):
        target = model.segments[dtype][part]
        wide = np.float64 if dtype == "float64" else np.float32
        step = new.segments[dtype][part].astype(wide) - old.segments[dtype][part].astype(wide)
        target[...] = (target.astype(wide) + step).astype(target.dtype)
    for spec, mine, theirs in zip(model.schema.side, model.side, new.side, strict=True):
        if spec.kind is not TensorKind.CONSTANT:
            mine[...] = theirs


def _blocks(model: ModelState) -> Iterator[tuple[str, slice]]:
    for dtype, segment in model.segments.items():
        for start in range(0, segment.size, BLOCK):
            yield dtype, slice(start, start + BLOCK)

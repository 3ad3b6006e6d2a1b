"""The capture that a peer offers to a round: a copy of its weights, or a view of the model while training waits."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np

from swarm.tensors.digest import block_ranges
from swarm.tensors.state import (
    Array,
    ModelState,
    Schema,
    TensorKind,
    TensorSpec,
    as_bytes,
    is_finite,
    numpy_dtype,
    segment_dtype,
    side_is_finite,
)


class Capture(Protocol):
    """The part of a model that a round reads. :class:`~swarm.tensors.state.ModelState` implements it."""

    @property
    def schema(self) -> Schema:
        """Its tensors."""

    @property
    def side(self) -> list[Array]:
        """The arrays of the side block."""

    def part(self, segment: int, start: int, stop: int) -> Array:
        """Values ``start`` to ``stop`` of a segment, counted in the schema's order: contiguous and read only."""

    def runs(self) -> Iterator[tuple[int, int, Array]]:
        """All values in long contiguous arrays: the segment, the start position in it, and the values."""

    def hold(self) -> None:
        """Copy borrowed memory, because the model is about to change and the capture must not."""


class BorrowedCapture:
    """A view of the model's weights, which saves the memory and the time of a copy.

    The session may borrow the weights while the training thread waits for the round. Before training continues it
    calls ``hold`` if the capture may still be merged.
    """

    def __init__(self, schema: Schema, arrays: Sequence[Array]) -> None:
        """``arrays`` are the tensors of ``schema`` in its order, contiguous; those of the side block are copied."""
        self._state: ModelState | None = None
        self._tensors: dict[str, list[Array]] = {segment: [] for segment in schema.segments}
        copied = []
        for spec, array in zip(schema.tensors, arrays, strict=True):
            if spec.in_side_block:
                copied.append(array.copy())
            else:
                flat = array.reshape(-1)
                flat.flags.writeable = False  # protects the model from writes by a merge rule of a plugin
                self._tensors[spec.segment].append(flat)
        self._side = ModelState(schema, {}, copied)
        self._bounds = schema.bounds

    @property
    def schema(self) -> Schema:
        """Its tensors."""
        return self._side.schema

    @property
    def side(self) -> list[Array]:
        """The arrays of the side block, copied."""
        return self._side.side

    def part(self, segment: int, start: int, stop: int) -> Array:
        """Values ``start`` to ``stop`` of a segment: a view if one tensor contains them all, else a copy."""
        borrowed = self._tensors  # read before the state, which replaces it: transport threads may read meanwhile
        if self._state:
            return self._state.part(segment, start, stop)
        name = tuple(self._bounds)[segment]
        tensors, starts = borrowed[name], self._bounds[name]
        first = min(bisect_right(starts, start), len(tensors)) - 1
        if stop <= starts[first + 1]:
            return tensors[first][start - starts[first] : stop - starts[first]]
        values = np.empty(stop - start, numpy_dtype(segment_dtype(name)))
        filled = 0
        while filled < values.size:
            taken = tensors[first][start + filled - starts[first] : stop - starts[first]]
            values[filled : filled + taken.size] = taken
            filled, first = filled + taken.size, first + 1
        return values

    def runs(self) -> Iterator[tuple[int, int, Array]]:
        """All values, tensor by tensor: the segment, the start position in it, and the values."""
        borrowed = self._tensors  # read before the state, as above
        if self._state:
            yield from self._state.runs()
            return
        for index, name in enumerate(self._bounds):
            for start, tensor in zip(self._bounds[name], borrowed[name], strict=False):
                yield index, start, tensor

    def hold(self) -> None:
        """Copy borrowed memory."""
        if self._state is None:
            segments = {name: np.concatenate(tensors) for name, tensors in self._tensors.items()}
            self._state = ModelState(self.schema, segments, self._side.side)
            self._tensors = {}


def block_runs(capture: Capture) -> Iterator[tuple[int, int, Array]]:
    """All values of ``runs``, cut where blocks of a digest begin: the segment, the start position, and the values."""
    for segment, start, values in capture.runs():
        size = values.itemsize
        for first, last in block_ranges(start * size, (start + values.size) * size):
            yield segment, first // size, values[first // size - start : last // size - start]


def has_stepped(capture: Capture) -> bool:
    """Whether the optimizer of a capture has made a step, so that it has state."""
    specs = zip(capture.schema.side, capture.side, strict=True)
    return any(bool(array.any()) for spec, array in specs if spec.kind is TensorKind.STEPS)


def tensors(capture: Capture) -> Iterator[tuple[TensorSpec, Array]]:
    """Each tensor's spec with its values, in schema order; those of a weight or moment are flat. Read only."""
    places = {name: pairwise(starts) for name, starts in capture.schema.bounds.items()}
    segments = {name: index for index, name in enumerate(capture.schema.segments)}
    side = iter(capture.side)
    for spec in capture.schema.tensors:
        if spec.in_side_block:
            yield spec, next(side)
        else:
            start, stop = next(places[spec.segment])
            yield spec, capture.part(segments[spec.segment], start, stop)


def faulty(capture: Capture, parent: ModelState | None = None) -> tuple[str, ...]:
    """Names of the tensors that prevent a merge of the capture, in the schema's order: see ``side_is_finite``."""
    before = iter(parent.side if parent else [])
    names = []
    for spec, values in tensors(capture):
        if spec.kind.of_optimizer:
            break  # after all tensors of the model
        if spec.in_side_block:
            sound = side_is_finite(Schema((spec,)), [values], [next(before)] if parent else None)
        else:
            sound = is_finite(values)
        if not sound:
            names.append(spec.name)
    return tuple(names)


def kept(capture: Capture) -> ModelState | None:
    """A copy of the tensors of the model of which the site keeps its own values; None if there are none."""
    schema = capture.schema.kept
    if not schema.tensors:
        return None
    state = ModelState.empty(schema)
    own = (values for spec, values in tensors(capture) if spec.kept and not spec.kind.of_optimizer)
    for (spec, array), values in zip(state.arrays(), own, strict=True):
        array[...] = values.reshape(spec.shape)
    if isinstance(capture, ModelState) and capture.others:
        state.others = capture.others.kept()
    return state


def with_kept(model: ModelState, own: ModelState) -> ModelState:
    """A copy of ``model`` with the values that the site keeps for itself, as ``kept`` has returned them."""
    whole, values = model.copy(), (array for _, array in own.arrays())
    for spec, array in whole.arrays():
        if spec.kept and not spec.kind.of_optimizer:
            array[...] = next(values)
    if model.others and own.others:
        whole.others = model.others.with_kept(own.others)
    return whole


def replaced_state(capture: Capture, model: ModelState) -> tuple[TensorSpec, ...]:
    """The module state that differs between ``capture`` and ``model``, without singular vectors, which are computed."""
    schema = model.schema
    computed = {
        schema.tensors[index] for norm in schema.spectral for index in (norm.left, norm.right) if index is not None
    }
    return tuple(
        spec
        for spec, mine, theirs in zip(schema.side, capture.side, model.side, strict=True)
        if spec.kind is TensorKind.STATE and spec not in computed and as_bytes(mine) != as_bytes(theirs)
    )

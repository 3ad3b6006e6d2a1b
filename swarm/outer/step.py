"""The step of an outer optimizer on whole models, whose state is a part of the committed model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from swarm.outer.base import OuterOptimizer
from swarm.tensors.buffers import BufferPool
from swarm.tensors.state import (
    OUTER,
    Array,
    ModelState,
    Schema,
    TensorKind,
    TensorSpec,
    is_finite,
    numpy_dtype,
    segment_dtype,
)

if TYPE_CHECKING:
    from swarm.outer.base import Numbers

BLOCK = 1 << 14
"""Elements handled at a time: what is computed of them stays in the cache."""
NEGLIGIBLE = 2.0**-100
"""State below this becomes zero: it would end as subnormal numbers, which some processors round to zero."""


class _Place(NamedTuple):
    """Where the state of a segment of weights is."""

    weights: str
    """The segment of the weights."""
    role: int
    segment: str
    """The segment of the state."""
    start: int
    stop: int


class OuterStep:
    """Makes a committed model of what a round has merged.

    Args:
        optimizer: computes the step.
        schema: of what peers contribute.
    """

    def __init__(self, optimizer: OuterOptimizer, schema: Schema) -> None:
        self._optimizer = optimizer
        self._weights = tuple(schema.of_model.segments)
        specs = [
            TensorSpec(f"outer.{role} of {spec.name}", spec.shape, _wide(name).name, TensorKind.OUTER)
            for role in optimizer.roles
            for name in self._weights
            for spec in schema.tensors
            if spec.kind is TensorKind.WEIGHT and spec.segment == name
        ]
        self.schema = Schema((*schema.tensors, *specs), schema.spectral)
        """Of committed models: the tensors that peers contribute, then the state of the optimizer."""
        self._places = tuple(self._found(schema))

    def _found(self, schema: Schema) -> Iterator[_Place]:
        """The places of the state, in the order of its tensors."""
        ends: dict[str, int] = {}
        for role in range(len(self._optimizer.roles)):
            for name in self._weights:
                segment = OUTER + _wide(name).name
                start = ends.get(segment, 0)
                ends[segment] = start + schema.segments[name]
                yield _Place(name, role, segment, start, ends[segment])

    def committed(
        self, merged: ModelState, before: ModelState | None, memory: BufferPool, *, steps: bool
    ) -> ModelState:
        """The model that a round commits. ``merged`` and ``before`` are not changed, and may share memory with it.

        Args:
            merged: what the round has merged.
            before: the committed model of the round before, with its state; None where there is none.
            memory: for the new model.
            steps: whether the optimizer makes a step. Otherwise the weights are the merged ones, and the state that of
                the round before, or zero.

        Raises:
            ValueError: the step gives NaN or infinity.
        """
        if before is None:
            sizes = self._state_sizes()
            state = {name: np.zeros(size, numpy_dtype(segment_dtype(name))) for name, size in sizes.items()}
        elif not steps:
            state = {name: before.segments[name] for name in self._state_sizes()}
        else:
            return self._stepped(merged, before, memory)
        return ModelState(self.schema, {**merged.segments, **state}, merged.side)

    def _state_sizes(self) -> dict[str, int]:
        return {name: size for name, size in self.schema.segments.items() if name.startswith(OUTER)}

    def _stepped(self, merged: ModelState, before: ModelState, memory: BufferPool) -> ModelState:
        sizes = self._state_sizes()
        state = {name: memory.empty(size, segment_dtype(name)) for name, size in sizes.items()}
        weights = {name: memory.empty(self.schema.segments[name], name) for name in self._weights}
        for name, out in weights.items():
            places = [place for place in self._places if place.weights == name]
            new = [state[place.segment][place.start : place.stop] for place in places]
            old = [before.segments[place.segment][place.start : place.stop] for place in places]
            self._step_segment(merged.segments[name], before.segments[name], old, new, out)
        # Weights and side block are for the caller to change; moments are not.
        side = [array.copy() for array in merged.side]
        return ModelState(self.schema, {**merged.segments, **weights, **state}, side)

    def _step_segment(self, merged: Array, before: Array, old: list[Array], new: list[Array], out: Array) -> None:
        """Step one segment of weights: ``new`` and ``out`` are filled."""
        wide = _wide(out.dtype.name)
        for start in range(0, out.size, BLOCK):
            part = slice(start, start + BLOCK)
            state: list[Numbers] = [array[part].view(wide) for array in new]
            with np.errstate(all="ignore"):  # checked below
                for target, source in zip(state, old, strict=True):
                    target[...] = source[part]
                values: Numbers = merged[part].astype(wide, copy=False)
                gradient: Numbers = np.subtract(before[part].astype(wide, copy=False), values)
                change = self._optimizer.change(gradient, state)
                for each in state:
                    each[np.abs(each) < NEGLIGIBLE] = 0
                # Unchanged weights keep their bits, also those of a negative zero.
                out[part] = merged[part]
                np.copyto(out[part], (values - change).astype(out.dtype, copy=False), where=change != 0)
            if not all(map(is_finite, (out[part], *state))):
                raise ValueError(
                    "the outer optimizer gave NaN or infinity; a lower outer_learning_rate or outer_momentum at every "
                    "peer may prevent it"
                )


def _wide(segment: str) -> np.dtype[np.float32] | np.dtype[np.float64]:
    """The dtype in which weights of a segment are stepped, and that of their state."""
    return np.dtype(np.float64) if segment == "float64" else np.dtype(np.float32)

"""A model in which every training step can be seen.

Each step adds 1 to a weight of its own, and a vector of its own to the last weights, which no codec sends as it is. In
some runs the model has an optimizer, whose moments are a mean of the last of these vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from swarm.tensors.model import ModelPort
from swarm.tensors.state import MOMENTS, Array, ModelState, Schema, TensorKind, TensorSpec
from tests.simulator.violation import Violation

STEPS = 384
"""So many steps can be told apart in one run."""
NOISE = np.random.default_rng(0).normal(size=(STEPS, 128)).astype(np.float32)
"""What each step adds to the last weights."""
SIZE = STEPS + NOISE.shape[1]
SCHEMA = Schema((TensorSpec("w", (SIZE,), "float32"),))
REMEMBERED = 16
"""Number of moments."""
WITH_OPTIMIZER = Schema(
    (
        *SCHEMA.tensors,
        TensorSpec("optimizer.m of w", (REMEMBERED,), "bfloat16", TensorKind.MOMENT),
        TensorSpec("optimizer.step", (1,), "int64", TensorKind.STEPS),
    )
)

ROUNDING = 1e-3
"""How far weights may be from a model with whole steps on top."""
Weights = NDArray[np.float32]
MOST_READS = 16
"""Copies of the weights that a session may have at the same time, and more."""
Steps = int
"""A set of steps: one bit each."""


def steps_in(added: Array) -> Steps:
    """The steps whose weights are 1 in an array of 0 and 1."""
    return int.from_bytes(np.packbits(added.astype(bool), bitorder="little").tobytes(), "little")


def steps_between(values: Weights, basis: Weights) -> Steps | None:
    """The steps that lead from ``basis`` to ``values``; None where whole steps do not."""
    added = values - basis
    whole = np.rint(added[:STEPS])
    if whole.min() < 0 or whole.max() > 1 or np.abs(added[:STEPS] - whole).max() > ROUNDING:
        return None
    rest = added[STEPS:] - whole @ NOISE
    return steps_in(whole) if np.abs(rest).max() < ROUNDING * (1.0 + whole.sum()) else None


def weights_of(state: ModelState) -> Weights:
    """The weights of a model of this schema."""
    return state.segments["float32"].view(np.float32)


@dataclass(frozen=True, slots=True)
class Taken:
    """Weights that the session has copied or borrowed."""

    values: Weights
    own: Steps
    """The steps of this process that were taken by then, and not given up."""
    moments: Array | None = None
    """Of the optimizer, if it has stepped."""
    steps: int = 0
    """Of the optimizer."""


class StepModel(ModelPort):
    """The model of one process. It knows which steps it has taken, and what the session took of it."""

    def __init__(
        self, initial: float, loaded: Callable[[bool], None], events: Callable[[], int], *, optimizer: bool = False
    ) -> None:
        """``loaded`` is called after the session has changed the weights, with whether all were replaced.

        ``events`` numbers the events of the run. ``optimizer`` tells whether there are moments.
        """
        self.values = np.full(SIZE, initial, np.float32)
        self._schema = WITH_OPTIMIZER if optimizer else SCHEMA
        self.moments = np.zeros(REMEMBERED, ml_dtypes.bfloat16)
        self.steps = np.zeros(1, np.int64)
        self.own: Steps = 0
        """Steps taken here that were not given up."""
        self.capture = self._take()
        """What was offered last, or was taken to be offered."""
        self._loaded = loaded
        self._events = events
        self._borrowed = False
        self._buffer: ModelState | None = None
        self._reads: list[tuple[ModelState, Taken]] = []
        """The memory that was read into last, and what it holds."""
        self._copied: tuple[int, Taken] | None = None
        """The last copy that was made elsewhere, and when."""
        self._viewed: Weights | None = None
        """The weights that are set aside while a validation looks at the committed model."""

    def step(self, number: int) -> None:
        """Take a step, if there are steps left."""
        if number < STEPS:
            self.values[number] += 1.0
            self.values[STEPS:] += NOISE[number]
            self.own |= 1 << number
            if self._schema is WITH_OPTIMIZER:
                self.moments[:] = self.moments / 2 + NOISE[number, :REMEMBERED].astype(self.moments.dtype)
                self.steps += 1

    def schema(self) -> Schema:
        return self._schema

    def borrow(self, schema: Schema) -> list[Array]:
        self._borrowed = True
        self.capture = self._take()
        return [self.values, self.moments, self.steps][: len(schema.tensors)]

    def read(self, into: ModelState) -> None:
        if self._buffer is None and not self._borrowed:
            self._buffer = into  # the first one is the capture's
        taken = self._take()
        if into is self._buffer:
            self.capture = taken
        else:
            self._copied = self._events(), taken
        self._reads = [*[each for each in self._reads if each[0] is not into][-MOST_READS:], (into, taken)]
        weights_of(into)[:] = self.values
        if into.schema.moments is not None:
            into.segments[MOMENTS][:] = self.moments
            into.side[0][:] = self.steps

    def offers(self, capture: object) -> None:
        """The session offers this, which may be a copy that was made for another purpose, as at the end."""
        self.capture = next((taken for into, taken in self._reads if into is capture), self.capture)

    def write(self, state: ModelState) -> None:
        copied, self._copied = self._copied, None
        viewed, self._viewed = self._viewed, None
        if copied and copied[0] == self._events():
            # Copied and replaced at once: a validation looks at the committed model.
            self._viewed = copied[1].values
        self.values[:] = weights_of(state)
        self._load_optimizer(state)
        if viewed is not None and not np.array_equal(viewed, self.values, equal_nan=True):
            raise Violation("Atomicity", "a validation leaves other weights than there were")
        if viewed is None and self._viewed is None:
            self._loaded(True)

    def add(self, step: ModelState) -> None:
        self.values += weights_of(step)
        self._load_optimizer(step)
        self._loaded(False)

    def _load_optimizer(self, state: ModelState) -> None:
        if state.schema.moments is not None and state.side[0].any():
            self.moments[:] = state.segments[MOMENTS]
            self.steps[:] = state.side[0]

    def _take(self) -> Taken:
        steps = int(self.steps[0]) if self._schema is WITH_OPTIMIZER else 0
        return Taken(self.values.copy(), self.own, self.moments.copy() if steps else None, steps)

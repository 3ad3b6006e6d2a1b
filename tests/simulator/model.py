"""A model in which every training step can be seen.

Each step adds 1 to a weight of its own, and a vector of its own to the last weights, which no codec sends as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swarm.tensors.model import ModelPort
from swarm.tensors.state import Array, ModelState, Schema, TensorSpec
from tests.simulator.violation import Violation

STEPS = 384
"""So many steps can be told apart in one run."""
NOISE = np.random.default_rng(0).normal(size=(STEPS, 128)).astype(np.float32)
"""What each step adds to the last weights."""
SIZE = STEPS + NOISE.shape[1]
SCHEMA = Schema((TensorSpec("w", (SIZE,), "float32"),))

ROUNDING = 1e-3
"""How far weights may be from a model with whole steps on top."""
Weights = NDArray[np.float32]
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


class StepModel(ModelPort):
    """The model of one process. It knows which steps it has taken, and what the session took of it."""

    def __init__(self, initial: float, loaded: Callable[[bool], None], events: Callable[[], int]) -> None:
        """``loaded`` is called after the session has changed the weights, with whether all were replaced.

        ``events`` numbers the moments of the run.
        """
        self.values = np.full(SIZE, initial, np.float32)
        self.own: Steps = 0
        """Steps taken here that were not given up."""
        self.capture = self.snapshot = self._take()
        """What was taken at the last sync point, and what was copied elsewhere, as at the end of the training."""
        self._loaded = loaded
        self._events = events
        self._borrowed = False
        self._buffer: ModelState | None = None
        self._copied: tuple[int, Taken] | None = None
        """When the snapshot was taken, and the one before it."""
        self._viewed: Weights | None = None
        """The weights that are set aside while a validation looks at the committed model."""

    def step(self, number: int) -> None:
        """Take a step, if there are steps left."""
        if number < STEPS:
            self.values[number] += 1.0
            self.values[STEPS:] += NOISE[number]
            self.own |= 1 << number

    def schema(self) -> Schema:
        return SCHEMA

    def borrow(self, schema: Schema) -> list[Array]:
        self._borrowed = True
        self.capture = self._take()
        return [self.values]

    def read(self, into: ModelState) -> None:
        if self._buffer is None and not self._borrowed:
            self._buffer = into  # the first one is the capture's
        if into is self._buffer:
            self.capture = self._take()
        else:
            self._copied = self._events(), self.snapshot
            self.snapshot = self._take()
        weights_of(into)[:] = self.values

    def write(self, state: ModelState) -> None:
        copied, self._copied = self._copied, None
        viewed, self._viewed = self._viewed, None
        if copied and copied[0] == self._events():
            # Copied and replaced at once: a validation looks at the committed model.
            self._viewed, self.snapshot = self.snapshot.values, copied[1]
        self.values[:] = weights_of(state)
        if viewed is not None and not np.array_equal(viewed, self.values, equal_nan=True):
            raise Violation("Atomicity", "a validation leaves other weights than there were")
        if viewed is None and self._viewed is None:
            self._loaded(True)

    def add(self, step: ModelState) -> None:
        self.values += weights_of(step)
        self._loaded(False)

    def _take(self) -> Taken:
        return Taken(self.values.copy(), self.own)

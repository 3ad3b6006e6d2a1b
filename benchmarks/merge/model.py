"""A model of random numbers, different for every peer and round, whose weighted mean can be computed anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from benchmarks.merge.plan import Plan
from swarm.tensors.model import ModelPort
from swarm.tensors.state import Array, ModelState, Schema, TensorSpec, numpy_dtype

BLOCK = 1 << 20
"""Elements drawn at a time."""
SPAN = 0.5
"""Values lie between minus this and this. So their differences are at most 1, as ``plan.BOUNDS`` assumes."""


class RandomModel(ModelPort):
    """Tensors that lie end to end in one flat array."""

    def __init__(self, plan: Plan, rank: int) -> None:
        self.flat: Array = np.zeros(plan.values, numpy_dtype(plan.dtype))
        """All values. Changed in place only."""
        self._plan = plan
        self._rank = rank
        cuts = [plan.values * number // plan.tensors for number in range(plan.tensors + 1)]
        pairs = list(pairwise(cuts))
        self._tensors = [self.flat[start:stop] for start, stop in pairs]
        self._schema = Schema(
            tuple(
                TensorSpec(f"tensor-{number}", (stop - start,), plan.dtype)
                for number, (start, stop) in enumerate(pairs)
            )
        )

    def schema(self) -> Schema:
        return self._schema

    def read(self, into: ModelState) -> None:
        for (_, target), tensor in zip(into.arrays(), self._tensors, strict=True):
            target[...] = tensor

    def borrow(self, schema: Schema) -> list[Array]:
        return self._tensors

    def write(self, state: ModelState) -> None:
        for (_, source), tensor in zip(state.arrays(), self._tensors, strict=True):
            tensor[...] = source

    def draw(self, turn: int) -> None:
        """Fill the model with this peer's values of a turn."""
        for number, part in _blocks(self.flat):
            _draw(self._plan.seed, turn, self._rank, number, part)

    def error(self, turn: int, weights: tuple[int, ...]) -> float:
        """Largest difference between the model and the mean of all peers' values of that turn under these weights.

        Each peer checks its share of the blocks; all peers together check the whole model.
        """
        worst, scratch = 0.0, np.empty(min(BLOCK, self.flat.size), self.flat.dtype)
        for number, part in _blocks(self.flat):
            if number % self._plan.peers != self._rank:
                continue
            drawn, expected = scratch[: part.size], np.zeros(part.size)
            for rank, weight in enumerate(weights):
                _draw(self._plan.seed, turn, rank, number, drawn)
                expected += drawn.astype(np.float64) * weight
            worst = max(worst, float(np.abs(part.astype(np.float64) - expected / sum(weights)).max()))
        return worst

    def state(self) -> ModelState:
        """The model as a session sees it, not copied."""
        return ModelState(self._schema, {self._plan.dtype: self.flat}, [])


def _blocks(flat: Array) -> Iterator[tuple[int, Array]]:
    for number, start in enumerate(range(0, flat.size, BLOCK)):
        yield number, flat[start : start + BLOCK]


def _draw(seed: int, turn: int, rank: int, block: int, out: Array) -> None:
    generator = np.random.Generator(np.random.SFC64((seed, turn, rank, block)))
    drawn = generator.random(out.size, np.float32)
    np.subtract(drawn, SPAN, out=drawn)
    out[...] = drawn

"""Models as bookkeeping: which training steps went into which."""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Steps = int
"""A set of training steps: one bit for each step of any peer."""


class Violation(Exception):  # noqa: N818  (it is a finding, not an error of the program)
    """An invariant does not hold."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of a peer: a model that all have in common, and steps on top of it."""

    base: str
    """Digest of that model."""
    own: Steps = 0

    @property
    def digest(self) -> str:
        """Equal for equal weights."""
        return f"{self.base}+{self.own:x}" if self.own else self.base


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an exchange made a model."""

    group: tuple[str, ...]
    contributors: tuple[str, ...]
    as_offered: bool = True
    """Whether all contributions were what their peers had said."""


class Library:
    """All models of a run, by digest."""

    def __init__(self) -> None:
        self._steps: dict[str, Steps] = {}
        self._recipes: dict[str, set[Recipe]] = {}
        self._next_step = 1

    def initial(self, name: str) -> Weights:
        """A peer's weights before it has joined."""
        self._steps[name] = 0
        return Weights(name)

    def train(self, weights: Weights) -> Weights:
        """The weights after one more step."""
        step, self._next_step = self._next_step, self._next_step << 1
        return Weights(weights.base, weights.own | step)

    def merge(self, contributions: Iterable[tuple[Weights, int]], recipe: Recipe) -> str:
        """Digest of the weighted mean. Equal contributions give what each of them is, as they do to the bit."""
        total: dict[str, int] = {}
        content = 0
        for weights, factor in contributions:
            total[weights.digest] = total.get(weights.digest, 0) + factor
            content |= self._steps[weights.base] | weights.own
        digest = next(iter(total))
        if len(total) > 1:
            common = math.gcd(*total.values())
            parts = sorted((name, factor // common) for name, factor in total.items())
            digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
        self._steps[digest] = content
        self._recipes.setdefault(digest, set()).add(recipe)
        return digest

    def contains(self, digest: str) -> Steps:
        """The steps that went into a model."""
        return self._steps[digest]

    def loss(self, digest: str, name: str) -> float:
        """The validation loss of a model on one peer's data: the more steps, the lower, more or less."""
        noise = zlib.crc32(f"{digest}/{name}".encode()) / 2**32
        return (1.0 + noise) / (10 + self._steps[digest].bit_count())

    def distance(self, weights: Weights, parent: str) -> float:
        """How far weights are from a model: each step that only one of them has is one unit in its own direction."""
        return math.sqrt(((self._steps[weights.base] | weights.own) ^ self._steps[parent]).bit_count())

    def made_by(self, digest: str, recipe: Recipe) -> bool:
        """Whether an exchange with this recipe gave this model."""
        return recipe in self._recipes.get(digest, set())

    def move(self, weights: Weights, before: Weights, new: str) -> Weights:
        """``weights - before + new``, where the result is a model again.

        Raises:
            Violation: ``before`` is not part of ``weights``, so the difference is no sum of steps.
        """
        if weights.base != before.base or before.own & ~weights.own:
            raise Violation("Atomicity", f"{weights.digest} - {before.digest} + {new} are the weights of no training")
        return Weights(new, weights.own & ~before.own)

    def check(self, weights: Weights) -> None:
        """Refuse weights in which a step counts twice.

        Raises:
            Violation: a step on top of a model is in that model.
        """
        twice = weights.own & self._steps[weights.base]
        if twice:
            raise Violation("Atomicity", f"steps {list(bits(twice))} count twice, in {weights.base} and on top of it")


def bits(steps: Steps) -> Iterator[int]:
    """The numbers of the steps in a set."""
    while steps:
        lowest = steps & -steps
        yield lowest.bit_length() - 1
        steps ^= lowest

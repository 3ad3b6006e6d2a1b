"""The models of a peer: the offered capture, the committed model, and those that may still be committed."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING

from swarm.errors import ExchangeError
from swarm.merge.distance import squared_distance
from swarm.text import short_digest

if TYPE_CHECKING:
    from swarm.tensors.capture import Capture
    from swarm.tensors.state import ModelState


class Models:
    """One peer's store of models, by digest. The worker changes it; any thread may call ``get``."""

    def __init__(self) -> None:
        self.capture: Capture | None = None
        """The last offer, as long as it may be merged; the training thread owns it."""
        self._committed: tuple[str, ModelState] | None = None
        self._best: tuple[str, ModelState] | None = None
        self._reference: ModelState | None = None
        self._undecided: dict[str, ModelState] = {}

    @property
    def reference(self) -> ModelState | None:
        """The model of the last committed round applied here, without outer state; replaced, never changed."""
        return self._reference

    def best(self, digest: str) -> ModelState | None:
        """The best model so far with its outer state, if it has this digest and is here."""
        found = self._best
        return found[1] if found and found[0] == digest else None

    def has(self, digest: str) -> bool:
        """Whether the model with this digest is here."""
        return digest in self._undecided or any(
            each is not None and each[0] == digest for each in (self._committed, self._best)
        )

    def get(self, digest: str) -> ModelState:
        """The model with this digest, committed, undecided or the best one.

        Raises:
            ExchangeError: it is not here.
        """
        committed, undecided = self._committed, self._undecided.get(digest)
        if undecided is not None:
            return undecided
        if committed is not None and committed[0] == digest:
            return committed[1]
        best = self.best(digest)
        if best is None:
            raise ExchangeError(f"the model {short_digest(digest)} is not here")
        return best

    def committed(self, digest: str) -> ModelState | None:
        """The committed model with its outer state if it has this digest; None for an attempt that builds on none."""
        return self._committed[1] if self._committed and self._committed[0] == digest else None

    def add(self, digest: str, model: ModelState) -> None:
        """Keep a model that may be committed."""
        self._undecided[digest] = model

    def commit(self, digest: str, model: ModelState, best: str = "") -> None:
        """This model is now the committed one; the one with the digest ``best`` is kept, if it is here."""
        here = (self._best, self._committed, (digest, model))
        self._best = next((each for each in here if each and each[0] == best), None)
        self._committed, self._reference = (digest, model), model.contributed()

    def keep_best(self, digest: str, model: ModelState) -> None:
        """Keep a model that was fetched as the best one."""
        self._best = digest, model

    def keep(self, digests: Collection[str]) -> None:
        """Drop the undecided models that are not in ``digests``."""
        if self._undecided:
            self._undecided = {digest: model for digest, model in self._undecided.items() if digest in digests}

    def clear(self) -> None:
        """Drop all models: a callback may live longer than its session."""
        self.capture = self._committed = self._reference = self._best = None
        self._undecided = {}


def way(before: ModelState, after: ModelState) -> float:
    """Euclidean distance between the weights of two committed models; nothing else of them counts."""
    squared = squared_way(before, after)
    if after.others and before.others:
        squared += after.others.squared_distance(before.others)
    return math.sqrt(squared)


def squared_way(before: ModelState, after: ModelState) -> float:
    """The square of that distance, of the shards of this process where it has no more."""
    pairs = ((after.segments[name], before.segments[name]) for name in before.schema.of_model.segments)
    return sum(squared_distance(values, origin) for values, origin in pairs)

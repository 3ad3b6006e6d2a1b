"""Shards and states of the training in a process other than rank 0, which rank 0 knows by number."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from swarm.errors import RanksError
from swarm.tensors.state import ModelState

if TYPE_CHECKING:
    from swarm.tensors.state import Schema
    from swarm.tensors.training import Tree


class ShardStore:
    """Any thread may call it."""

    def __init__(self, schema: Schema) -> None:
        """``schema`` is that of the shard of a model, without the state of outer optimizers."""
        self._schema = schema
        self._lock = threading.Lock()
        self._models: dict[int, ModelState | None] = {}
        """None for one that is to come."""
        self._digests: dict[str, int] = {}
        self._trainings: dict[int, Tree] = {}

    def expect(self, number: int) -> None:
        """A model with this number will come."""
        with self._lock:
            self._models.setdefault(number, None)

    def put(self, number: int, model: ModelState) -> None:
        """A model has come; it is dropped if nobody expects it any more."""
        with self._lock:
            if number in self._models:
                self._models[number] = model

    def get(self, number: int) -> ModelState:
        """The model with this number.

        Raises:
            RanksError: it is not here.
        """
        with self._lock:
            model = self._models.get(number)
        if model is None:
            raise RanksError(f"this process has no model {number}")
        return model

    def memory(self, number: int) -> ModelState:
        """The model with this number, or new memory for it."""
        with self._lock:
            model = self._models.get(number) or ModelState.empty(self._schema)
            self._models[number] = model
            return model

    def call(self, number: int, digest: str) -> None:
        """The model with this number has this digest, under which it is served."""
        with self._lock:
            if number in self._models:
                self._digests[digest] = number

    def called(self, digest: str) -> ModelState | None:
        """The model with this digest; None if it is not here."""
        with self._lock:
            number = self._digests.get(digest)
            return None if number is None else self._models.get(number)

    def keep_training(self, number: int, state: Tree) -> None:
        """Keep the state of the training of this process."""
        with self._lock:
            self._trainings[number] = state

    def training(self, number: int) -> Tree:
        """The state of the training of this process with this number.

        Raises:
            RanksError: it is not here.
        """
        with self._lock:
            if number not in self._trainings:
                raise RanksError(f"this process has no state of its training {number}")
            return self._trainings[number]

    def drop(self, number: int) -> None:
        """Rank 0 needs the model, or the state of the training, no more."""
        with self._lock:
            self._models.pop(number, None)
            self._trainings.pop(number, None)
            self._digests = {digest: each for digest, each in self._digests.items() if each in self._models}

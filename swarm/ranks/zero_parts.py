"""Model, gradients and optimizers in all processes of a site: what rank 0 does to its own, it tells the others."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np

from swarm.ranks.arriving import send
from swarm.ranks.instructions import Kind
from swarm.ranks.voice import Voice
from swarm.storage.training import packed
from swarm.tensors.model import Correction, ModelPort
from swarm.tensors.state import dtype_name
from swarm.tensors.training import TrainingState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swarm.tensors.state import Array, ModelState, Schema
    from swarm.tensors.training import Tree


class RankZeroPort(ModelPort):
    """The model of all processes of a site, which are told what is done to it."""

    def __init__(self, port: ModelPort, voice: Voice, *, sharded: bool) -> None:
        """Nothing is read before the schema is set.

        Args:
            port: the model of this process.
            voice: tells the others.
            sharded: whether each process has only a part of the model.
        """
        self._port = port
        self._voice = voice
        self._sharded = sharded
        self.agreed: Schema | None = None
        """The tensors that take part, which are the same in all processes."""

    def schema(self) -> Schema:
        return self._port.schema() if self.agreed is None else self.agreed

    def read(self, into: ModelState) -> None:
        with self._voice.telling(Kind.READ) if self._sharded else nullcontext():
            self._port.read(into)

    def borrow(self, schema: Schema) -> Sequence[Array] | None:
        return None if self._sharded else self._port.borrow(schema)

    def write(self, state: ModelState) -> None:
        self._spread(Kind.WRITE, state)
        self._port.write(state)

    def update(self, state: ModelState) -> None:
        self._spread(Kind.UPDATE, state)
        self._port.update(state)

    def add(self, step: ModelState) -> None:
        self._spread(Kind.ADD, step)
        self._port.add(step)

    def _spread(self, kind: Kind, state: ModelState) -> None:
        with self._voice.telling(kind) as group:
            send(group, state)


class RankZeroCorrection(Correction):
    """Changes the gradients in all processes of a site."""

    def __init__(self, correction: Correction, voice: Voice) -> None:
        self._correction = correction
        self._voice = voice

    def follow(self, committed: ModelState, *, unmerged: int) -> None:
        with self._voice.telling(Kind.FOLLOW, {"unmerged": unmerged}) as group:
            send(group, committed)
        self._correction.follow(committed, unmerged=unmerged)

    def stop(self) -> None:
        """Stop here; the other processes stop theirs at the end of their own session."""
        self._correction.stop()


class RankZeroTraining(TrainingState):
    """The state of optimizers and schedules, which a resumed run sets in all processes of a site."""

    def __init__(self, training: TrainingState, voice: Voice) -> None:
        self._training = training
        self._voice = voice

    def read(self) -> Tree:
        return self._training.read()

    def write(self, state: Tree) -> None:
        tensors: dict[str, Array] = {}
        tree = packed(state, tensors)
        arrays = {name: [array.shape, dtype_name(array.dtype)] for name, array in tensors.items()}
        with self._voice.telling(Kind.TRAINING, {"state": tree, "arrays": arrays}) as group:
            for array in tensors.values():
                group.share(np.ascontiguousarray(array))
        self._training.write(state)

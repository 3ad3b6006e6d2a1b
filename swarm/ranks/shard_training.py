"""The state of optimizers and schedules at a site of which each process has its own shard of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm.errors import ModelError
from swarm.ranks.directed import number_of
from swarm.ranks.instructions import Kind
from swarm.ranks.together import all_do
from swarm.tensors.training import TrainingState

if TYPE_CHECKING:
    from collections.abc import Callable

    from swarm.ranks.directed import DirectedRanks
    from swarm.ranks.voice import Voice
    from swarm.tensors.shards import OtherShards
    from swarm.tensors.training import Tree


OWN = "rank 0"
"""The key of the state in rank 0."""


class StateOfAll(dict[str, "Tree"]):
    """The state in rank 0, as a tree that is written as it is, and those in the other processes."""

    def __init__(self, own: Tree, others: OtherShards) -> None:
        super().__init__({OWN: own})
        self.others = others


class RankZeroShardTraining(TrainingState):
    """Each process reads and sets the state of its own training."""

    def __init__(self, training: TrainingState, voice: Voice, ranks: Callable[[], DirectedRanks]) -> None:
        """Nothing is told yet.

        Args:
            training: of this process.
            voice: tells the others.
            ranks: gives them, once the processes have met.
        """
        self._training = training
        self._voice = voice
        self._ranks = ranks

    def read(self) -> Tree:
        others = self._ranks().new()
        own: list[Tree] = []
        with self._voice.telling(Kind.KEEP_TRAINING, {"state": others.number}) as group:
            all_do(group, lambda: own.append(self._training.read()))
        return StateOfAll(own[0], others)

    def write(self, state: Tree) -> None:
        if not isinstance(state, StateOfAll):
            raise ModelError("it is that of one process")
        with self._voice.telling(Kind.TRAINING, {"state": number_of(state.others)}) as group:
            try:
                all_do(group, lambda: self._training.write(state[OWN]))
            except RuntimeError as error:
                raise ModelError(str(error)) from error

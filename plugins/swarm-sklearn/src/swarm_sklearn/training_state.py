"""What the training of an estimator consists of besides its tensors, so that a site can resume it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm.errors import ModelError
from swarm.tensors import TrainingState

if TYPE_CHECKING:
    from swarm.tensors import Tree
    from swarm_sklearn.family import Family


class SklearnTrainingState(TrainingState):
    """The number of samples seen, which schedules of the learning rate depend on, and the optimizer of a network.

    Args:
        family: of the estimator.
    """

    def __init__(self, family: Family) -> None:
        self._family = family

    def read(self) -> Tree:
        return {"estimator": type(self._family.estimator).__name__, "own": self._family.own_state()}

    def write(self, state: Tree) -> None:
        here = type(self._family.estimator).__name__
        try:
            if state["estimator"] != here:
                raise ModelError(
                    f"the estimator was {state['estimator']} when the checkpoint was written, and is {here} now"
                )
            self._family.set_own_state(state["own"])
        except (KeyError, TypeError) as error:
            raise ModelError(f"it is not that of a scikit-learn training ({error!r})") from error

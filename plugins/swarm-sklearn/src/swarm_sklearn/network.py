"""Multi-layer perceptrons: weights and intercepts of each layer, averaged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.neural_network import _stochastic_optimizers as optimizers

from swarm.errors import ModelError
from swarm_sklearn.family import ArrayFamily, Named, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swarm.tensors import Tree

_NO_STEP = float(np.finfo(np.float64).tiny)
"""A learning rate with which a step changes no weight: the change is below the spacing of floating-point numbers."""

_OF_OPTIMIZER = {"adam": ("learning_rate", "t", "ms", "vs"), "sgd": ("learning_rate", "velocities")}
"""What changes in the optimizer of each solver."""


class Network(ArrayFamily):
    """``coefs_`` and ``intercepts_``, at first random as scikit-learn draws them.

    The optimizer (the moments of Adam, the velocity of SGD), ``t_`` and the curve of losses are each site's own.
    """

    state = "coefs_"
    parameters = ("activation",)
    own = ("t_", "n_iter_", "_no_improvement_count", "best_loss_", "loss_curve_", "loss_")

    def check(self) -> None:
        if self.estimator.solver not in ("adam", "sgd"):
            raise refuse(self.estimator, "solver", "it has no partial_fit; allowed are 'adam' and 'sgd'")
        if self.estimator.early_stopping:
            raise refuse(self.estimator, "early_stopping", "partial_fit does not support it; leave it False")

    def copy(self) -> Any:
        return super().copy().set_params(learning_rate_init=_NO_STEP)

    def reset(self) -> None:
        estimator = self.estimator
        # the weights are still those that were drawn; the optimizer is made anew by the next partial_fit
        del estimator._optimizer, estimator.loss_  # noqa: SLF001 - no public way to start again
        estimator.t_ = estimator.n_iter_ = estimator._no_improvement_count = 0  # noqa: SLF001
        estimator.loss_curve_ = []
        estimator.best_loss_ = np.inf

    def own_state(self) -> dict[str, Tree]:
        estimator = self.estimator
        optimizer = getattr(estimator, "_optimizer", None)
        state: dict[str, Tree] = {**super().own_state(), "solver": estimator.solver, "optimizer": None}
        if optimizer is not None:
            state["optimizer"] = {name: _copied(getattr(optimizer, name)) for name in _OF_OPTIMIZER[estimator.solver]}
        return state

    def set_own_state(self, state: Mapping[str, Tree]) -> None:
        estimator = self.estimator
        if state["solver"] != estimator.solver:
            raise ModelError(
                f"solver was {state['solver']!r} when the checkpoint was written, and is {estimator.solver!r} now"
            )
        super().set_own_state(state)
        if state["optimizer"] is None:
            return
        params = [*estimator.coefs_, *estimator.intercepts_]
        if estimator.solver == "adam":
            optimizer = optimizers.AdamOptimizer(
                params,
                learning_rate_init=estimator.learning_rate_init,
                beta_1=estimator.beta_1,
                beta_2=estimator.beta_2,
                epsilon=estimator.epsilon,
            )
        else:
            optimizer = optimizers.SGDOptimizer(
                params,
                learning_rate_init=estimator.learning_rate_init,
                lr_schedule=estimator.learning_rate,
                momentum=estimator.momentum,
                nesterov=estimator.nesterovs_momentum,
                power_t=estimator.power_t,
            )
        for name in _OF_OPTIMIZER[estimator.solver]:
            setattr(optimizer, name, state["optimizer"][name])
        estimator._optimizer = optimizer  # noqa: SLF001 - where partial_fit looks for it

    def tensors(self) -> list[Named]:
        return [
            Named(f"{name}.{layer}", array)
            for name in ("coefs_", "intercepts_")
            for layer, array in enumerate(getattr(self.estimator, name))
        ]


def _copied(value: Any) -> Tree:
    return [array.copy() for array in value] if isinstance(value, list) else value

"""Multi-layer perceptrons: weights and intercepts of each layer, averaged."""

from __future__ import annotations

from typing import Any

import numpy as np

from swarm_sklearn.family import ArrayFamily, Named, refuse

_NO_STEP = float(np.finfo(np.float64).tiny)
"""A learning rate with which a step changes no weight: the change is below the spacing of floating-point numbers."""


class Network(ArrayFamily):
    """``coefs_`` and ``intercepts_``, at first random as scikit-learn draws them.

    The optimizer (the moments of Adam, the velocity of SGD), ``t_`` and the curve of losses are each site's own.
    """

    state = "coefs_"
    parameters = ("activation",)

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

    def tensors(self) -> list[Named]:
        return [
            Named(f"{name}.{layer}", array)
            for name in ("coefs_", "intercepts_")
            for layer, array in enumerate(getattr(self.estimator, name))
        ]

"""Linear models trained by stochastic gradient descent: coefficients and intercepts, averaged."""

from __future__ import annotations

from typing import ClassVar

from swarm_sklearn.family import ArrayFamily, Named, refuse


class Linear(ArrayFamily):
    """``coef_`` and ``intercept_``, both zero at first.

    ``t_``, the number of samples seen, which learning rate schedules depend on, is each site's own.
    """

    state = "coef_"
    own = ("t_",)
    learnt: ClassVar[tuple[str, ...]] = ("coef_", "intercept_")

    def check(self) -> None:
        if self.estimator.average:
            raise refuse(
                self.estimator,
                "average",
                "the average over the steps of one site is not that of the swarm; leave it False, the swarm averages "
                "the sites",
            )
        if self.estimator.early_stopping:
            raise refuse(self.estimator, "early_stopping", "partial_fit does not support it; leave it False")
        if getattr(self.estimator, "class_weight", None) == "balanced":
            raise refuse(
                self.estimator,
                "class_weight",
                "partial_fit does not support it; give a dict, such as the class weights of swarm.pool",
            )

    def reset(self) -> None:
        for _, array, _ in self.tensors():
            array[...] = 0.0
        self.estimator.t_ = 1.0

    def tensors(self) -> list[Named]:
        return [Named(name, getattr(self.estimator, name)) for name in self.learnt]


class StochasticGradient(Linear):
    """``SGDClassifier`` and ``SGDRegressor``, whose ``loss`` decides what the coefficients mean."""

    parameters = ("loss",)


class OneClass(Linear):
    """``SGDOneClassSVM``: a sample is an outlier where its product with ``coef_`` is below ``offset_``.

    Both are variables of one convex problem, as the coefficients and the intercept of the other linear models are.
    ``nu`` is part of that problem: the share of the samples that may be taken for outliers.
    """

    learnt = ("coef_", "offset_")
    parameters = ("nu",)

"""Naive Bayes: counts and sums over the samples, added up, so that the result is that of all sites' data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from swarm.errors import ConfigurationError
from swarm.tensors import TensorKind
from swarm_sklearn.family import Family, Named, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from swarm.tensors import Array


class NaiveBayes(Family):
    """Sufficient statistics, in float64: whole numbers stay exact."""

    state = "class_count_"
    additive = True
    once = True


class Discrete(NaiveBayes):
    """``MultinomialNB``, ``BernoulliNB`` and ``ComplementNB``: ``class_count_`` and ``feature_count_``."""

    def reset(self) -> None:
        estimator = self.estimator
        for name in ("class_count_", "feature_count_"):
            setattr(estimator, name, np.zeros_like(getattr(estimator, name), dtype=np.float64))
        self._refresh()

    def tensors(self) -> list[Named]:
        return [Named(name, getattr(self.estimator, name)) for name in ("class_count_", "feature_count_")]

    def assign(self, values: Mapping[str, Array]) -> None:
        self.estimator.class_count_[...] = values["class_count_"]
        self.estimator.feature_count_[...] = values["feature_count_"]
        self._refresh()

    def _refresh(self) -> None:
        """Compute the logarithms that ``predict`` reads, as ``partial_fit`` does after each batch."""
        estimator = self.estimator
        if hasattr(estimator, "feature_all_"):
            estimator.feature_all_ = estimator.feature_count_.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            estimator._update_feature_log_prob(estimator._check_alpha())  # noqa: SLF001 - no public way
            estimator._update_class_log_prior(class_prior=estimator.class_prior)  # noqa: SLF001
        if not estimator.class_count_.any() and estimator.class_prior is None:  # scikit-learn has NaN here
            estimator.class_log_prior_ = np.full(len(estimator.classes_), -np.log(len(estimator.classes_)))


class Multinomial(Discrete):
    """``MultinomialNB``."""

    parameters = ("alpha", "force_alpha", "fit_prior", "class_prior")


class Complement(Discrete):
    """``ComplementNB``."""

    parameters = (*Multinomial.parameters, "norm")


class Bernoulli(Discrete):
    """``BernoulliNB``."""

    parameters = (*Multinomial.parameters, "binarize")


class Categorical(Discrete):
    """``CategoricalNB``: ``class_count_`` and, for each feature, the samples of each class in each category.

    scikit-learn makes room for a category when a sample has it. In a swarm all sites count the same categories, so
    ``min_categories`` tells how many there are.
    """

    parameters = Multinomial.parameters

    def check(self) -> None:
        if self.estimator.min_categories is None:
            raise refuse(
                self.estimator,
                "min_categories",
                "each site would count the categories that its own samples have; give the number of categories of each "
                "feature, the same at every site",
            )

    def reset(self) -> None:
        estimator = self.estimator
        estimator.class_count_ = np.zeros(len(estimator.classes_))
        estimator.category_count_ = [np.zeros_like(count) for count in estimator.category_count_]
        self._refresh()

    def batch_trained(self) -> None:
        """Refuse a sample of a category for which the other sites have no room.

        Raises:
            ConfigurationError: there was one.
        """
        self._require_known(np.array([count.shape[1] for count in self.estimator.category_count_]))

    def tensors(self) -> list[Named]:
        counts = enumerate(self.estimator.category_count_)
        named = [Named(f"category_count_.{feature}", count) for feature, count in counts]
        return [Named("class_count_", self.estimator.class_count_), *named]

    def assign(self, values: Mapping[str, Array]) -> None:
        for name, array, _ in self.tensors():
            array[...] = values[name]
        self._refresh()

    def _probe(self, x: Any, y: Any, classes: Sequence[Any] | None) -> Any:
        probe = super()._probe(x, y, classes)
        self._require_known(np.asarray(x).max(axis=0) + 1)
        return probe

    def _require_known(self, found: NDArray[Any]) -> None:
        """Compare the numbers of categories that the features seem to have here with those that they may have."""
        allowed = np.broadcast_to(self.estimator.min_categories, found.shape)
        for feature in np.flatnonzero(found > allowed)[:1]:
            raise ConfigurationError(
                f"feature {feature} has category {int(found[feature]) - 1} here, and min_categories allows those from "
                f"0 to {allowed[feature] - 1}: give a number of categories that is enough for all sites"
            )


class Gaussian(NaiveBayes):
    """``GaussianNB``: per class the number of samples, and per feature the sum and the sum of squares.

    Both sums are of differences from a common origin, so that the variance of a feature with a large mean keeps its
    digits. The origin is the mean of the features at the founder.

    scikit-learn adds ``epsilon_``, a part of the largest variance of a feature, to each variance. ``partial_fit`` takes
    it from the batch at hand, and subtracts that of this batch, not of the batch before, when it continues. Here each
    batch is put right (``batch_trained``), and merged variances have the ``epsilon_`` of all sites' data, as ``fit`` on
    these data computes it.
    """

    parameters = ("var_smoothing", "priors")

    def __init__(self, estimator: Any) -> None:
        super().__init__(estimator)
        self._origin: NDArray[np.float64] | None = None
        self._counted: NDArray[np.float64] = np.zeros(0)
        self._epsilon = 0.0
        if self.ready:
            self._remember()

    def initialise(self, x: Any, y: Any, classes: Any) -> None:
        super().initialise(x, y, classes)
        # a mean of no samples has no meaning to partial_fit: it holds the origin until the first sample of its class
        self.estimator.theta_[...] = np.asarray(x, dtype=np.float64).mean(axis=0)

    def reset(self) -> None:
        estimator = self.estimator
        estimator.theta_ = np.zeros_like(estimator.theta_, dtype=np.float64)
        estimator.var_ = np.ones_like(estimator.theta_)
        estimator.class_count_ = np.zeros(len(estimator.classes_))
        estimator.epsilon_ = 0.0
        self._set_prior()
        self._remember()

    def batch_trained(self) -> None:
        """Subtract what ``partial_fit`` has left of the ``epsilon_`` before."""
        estimator, before = self.estimator, self._counted
        if estimator.epsilon_ != self._epsilon:
            share = np.divide(
                before, estimator.class_count_, out=np.ones_like(before), where=estimator.class_count_ > 0
            )
            estimator.var_ -= share[:, np.newaxis] * (self._epsilon - estimator.epsilon_)
        self._remember()

    def training_ends(self) -> None:
        """Take ``epsilon_`` from all samples, also where a site trains alone."""
        self.assign({name: values for name, values, _ in self.tensors()})

    def tensors(self) -> list[Named]:
        estimator = self.estimator
        if self._origin is None:
            self._origin = _mean(estimator.theta_, estimator.class_count_)
        count = estimator.class_count_[:, np.newaxis]
        away = estimator.theta_ - self._origin
        return [
            Named("class_count_", estimator.class_count_),
            Named("sum", count * away),
            Named("squares", count * (estimator.var_ - estimator.epsilon_ + np.square(away))),
            Named("origin", self._origin, TensorKind.STATE),
        ]

    def assign(self, values: Mapping[str, Array]) -> None:
        estimator = self.estimator
        count, total, squares, origin = (
            np.array(values[name], np.float64) for name in ("class_count_", "sum", "squares", "origin")
        )
        self._origin = origin
        known = count[:, np.newaxis] > 0
        away = np.divide(total, count[:, np.newaxis], out=np.zeros_like(total), where=known)
        spread = np.divide(squares, count[:, np.newaxis], out=np.zeros_like(total), where=known)
        samples = count.sum()
        everywhere = np.zeros(origin.size)
        if samples > 0:
            everywhere = np.maximum(squares.sum(axis=0) / samples - np.square(total.sum(axis=0) / samples), 0.0)
        estimator.epsilon_ = float(estimator.var_smoothing * everywhere.max())
        estimator.class_count_[...] = count
        estimator.theta_[...] = origin + away
        estimator.var_[...] = np.maximum(spread - np.square(away), 0.0) + (estimator.epsilon_ if samples > 0 else 1.0)
        self._set_prior()
        self._remember()

    def _set_prior(self) -> None:
        estimator = self.estimator
        if estimator.priors is None:
            count = estimator.class_count_
            estimator.class_prior_ = count / count.sum() if count.any() else np.full(count.size, 1 / count.size)

    def _remember(self) -> None:
        self._counted, self._epsilon = self.estimator.class_count_.copy(), float(self.estimator.epsilon_)


def _mean(theta: NDArray[np.float64], count: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the features over all classes; without a sample the one that ``initialise`` has set."""
    return np.average(theta, axis=0, weights=count if count.any() else None)

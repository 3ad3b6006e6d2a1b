"""Which estimators can be merged, what to use in place of others, and their initial state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn import cluster, linear_model, naive_bayes, neural_network
from sklearn.base import is_classifier, is_regressor

from swarm.errors import ConfigurationError
from swarm_sklearn.bayes import Bernoulli, Categorical, Complement, Gaussian, Multinomial
from swarm_sklearn.clusters import Clusters
from swarm_sklearn.family import Family
from swarm_sklearn.linear import Linear, OneClass, StochasticGradient
from swarm_sklearn.network import Network

_FAMILIES: dict[str, tuple[Any, type[Family]]] = {
    "SGDClassifier": (linear_model, StochasticGradient),
    "SGDRegressor": (linear_model, StochasticGradient),
    "SGDOneClassSVM": (linear_model, OneClass),
    "Perceptron": (linear_model, Linear),
    "PassiveAggressiveClassifier": (linear_model, Linear),
    "PassiveAggressiveRegressor": (linear_model, Linear),
    "MLPClassifier": (neural_network, Network),
    "MLPRegressor": (neural_network, Network),
    "MiniBatchKMeans": (cluster, Clusters),
    "GaussianNB": (naive_bayes, Gaussian),
    "MultinomialNB": (naive_bayes, Multinomial),
    "BernoulliNB": (naive_bayes, Bernoulli),
    "ComplementNB": (naive_bayes, Complement),
    "CategoricalNB": (naive_bayes, Categorical),
}
"""By the name of the class: where it is, and its family."""

_CLASSIFIER = "use SGDClassifier, MLPClassifier or a naive Bayes classifier"
_REGRESSOR = "use SGDRegressor or MLPRegressor"
_PARTS = "fit the other steps before, at every site alike (swarm.pool has common means), and give the last one"
_INSTEAD = {
    "LogisticRegression": "use SGDClassifier(loss='log_loss')",
    "LinearSVC": "use SGDClassifier(loss='hinge')",
    "SVC": "use SGDClassifier(loss='hinge'), on features of sklearn.kernel_approximation for a kernel",
    "SVR": "use SGDRegressor(loss='epsilon_insensitive')",
    "LinearRegression": "use SGDRegressor",
    "Ridge": "use SGDRegressor(penalty='l2')",
    "Lasso": "use SGDRegressor(penalty='l1')",
    "KMeans": "use MiniBatchKMeans",
    "OneClassSVM": "use SGDOneClassSVM, on features of sklearn.kernel_approximation for a kernel",
    "StandardScaler": "use swarm.pool, whose standardise does the same with the statistics of all sites",
    "Pipeline": _PARTS,
    "ColumnTransformer": _PARTS,
    "GridSearchCV": "give the estimator itself, with its parameters",
    "RandomizedSearchCV": "give the estimator itself, with its parameters",
}
"""What to use in place of an estimator that cannot be merged."""


def family_of(estimator: Any) -> Family:
    """The family of an estimator, whose parameters are checked.

    Raises:
        ConfigurationError: the estimator cannot be merged; the message says what to use instead.
    """
    for name, (module, family) in _FAMILIES.items():
        known = getattr(module, name, None)  # absent in versions that have removed it
        if known is not None and isinstance(estimator, known):
            return family(estimator)
    name = type(estimator).__name__
    remedy = next((_INSTEAD[base.__name__] for base in type(estimator).__mro__ if base.__name__ in _INSTEAD), None)
    if remedy is None:
        kinds = {_CLASSIFIER: is_classifier, _REGRESSOR: is_regressor}
        remedy = next(
            (each for each, is_it in kinds.items() if is_it(estimator)), f"allowed are {', '.join(_FAMILIES)}"
        )
    reason = "what it learns cannot be merged" if hasattr(estimator, "partial_fit") else "it has no partial_fit"
    raise ConfigurationError(f"{name} cannot be trained in a swarm, {reason}: {remedy}")


def initialise(estimator: Any, x: Any, y: Any = None, *, classes: Sequence[Any] | None = None) -> None:
    """Give an estimator the state that training starts from, without learning anything; forget what it has learnt.

    ``SwarmTrainer`` calls it. Call it before ``on_train_begin`` in a loop of your own. ``partial_fit`` on a first batch
    is no substitute: the weights would already be trained by this batch, and counts would be lost or count twice.

    Args:
        estimator: not fitted, or to be trained anew.
        x: samples of this site, ``[samples, features]``: of them only the number of features, the dtype and the names
            of the columns count, for ``GaussianNB`` the mean, and for ``CategoricalNB`` the highest category.
        y: targets; the classes of a classifier are taken from them if ``classes`` is not given. A regressor takes the
            number of outputs.
        classes: all classes of a classifier, the same at each site, since a site may lack some of them.

    Raises:
        ConfigurationError: the estimator cannot be merged, its classes are not known, or a feature has more categories
            than it may have.
    """
    family = family_of(estimator)
    _fresh(family, x, y, classes)


def _fresh(family: Family, x: Any, y: Any, classes: Sequence[Any] | None) -> None:
    name = type(family.estimator).__name__
    if not is_classifier(family.estimator):
        if classes is not None:
            raise ConfigurationError(f"classes was given, but {name} is no classifier: leave it out")
        family.initialise(x, y, None)
        return
    labels = None if y is None else np.asarray(y)
    if labels is not None and labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels is not None and labels.ndim != 1:
        raise ConfigurationError(f"y has the shape {list(labels.shape)}: {name} in a swarm takes one label a sample")
    if classes is None:
        if labels is None:
            raise ConfigurationError(f"classes is missing: {name} needs all classes before it is trained")
        classes = np.unique(labels).tolist()
    given = np.asarray(classes)
    known = np.unique(given)
    if known.size != given.size or known.size < 2:
        raise ConfigurationError(f"classes={given.tolist()} is not allowed: allowed are two or more different classes")
    if labels is not None and (other := set(np.unique(labels).tolist()) - set(known.tolist())):
        raise ConfigurationError(f"y contains {min(other)!r}, which is not in classes={known.tolist()}")
    family.initialise(x, y, known.tolist())

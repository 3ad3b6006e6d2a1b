"""Validates the merged estimator."""

from __future__ import annotations

from typing import Any

from sklearn.base import is_classifier
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.utils import check_consistent_length

from swarm.errors import ConfigurationError
from swarm.tensors import Evaluation, without_samples


class SklearnEvaluator:
    """Loss and score on validation data.

    The loss is the log loss of a classifier that predicts probabilities, the error rate of another one, the mean
    squared error of a regressor, and the mean squared distance to the nearest centre of clusters. ``accuracy`` or
    ``r2`` is what ``score`` returns.
    """

    def __init__(self, estimator: Any, val_data: Any) -> None:
        """Check the data.

        Args:
            estimator: what is trained.
            val_data: ``(x, y)``; for clusters ``x`` alone is enough.

        Raises:
            ConfigurationError: it is something else, ``x`` and ``y`` differ in length, or it holds no sample.
        """
        self._estimator = estimator
        self._clusters = hasattr(estimator, "n_clusters")
        pair = val_data if isinstance(val_data, tuple | list) and len(val_data) == 2 else None
        if pair is None and not self._clusters:
            raise ConfigurationError(f"val_data is a {type(val_data).__name__}: allowed is (x, y)")
        self._x: Any
        self._y: Any
        self._x, self._y = pair if pair is not None else (val_data, None)
        self._samples = int(self._x.shape[0]) if hasattr(self._x, "shape") else len(self._x)
        if not self._samples:
            raise without_samples(val_data)
        try:
            check_consistent_length(self._x, self._y)
        except ValueError as error:
            raise ConfigurationError(f"val_data is not possible: {error}") from error

    def __call__(self) -> Evaluation:
        """Evaluate the estimator as it is now; it does not change."""
        estimator, x, y = self._estimator, self._x, self._y
        if self._clusters:
            return Evaluation(-float(estimator.score(x)) / self._samples, {}, self._samples)
        score = float(estimator.score(x, y))
        if not is_classifier(estimator):
            # y may be one column, where the predictions have no columns: their difference would be that of all pairs
            return Evaluation(float(mean_squared_error(y, estimator.predict(x))), {"r2": score}, self._samples)
        if hasattr(estimator, "predict_proba"):
            loss = float(log_loss(y, estimator.predict_proba(x), labels=estimator.classes_))
        else:
            loss = 1.0 - score
        return Evaluation(loss, {"accuracy": score}, self._samples)

"""Validates the merged estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_outlier_detector
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.utils import check_consistent_length

from swarm.errors import ConfigurationError
from swarm.tensors import Evaluation, without_samples


class SklearnEvaluator:
    """Loss and score on validation data.

    The loss is the log loss of a classifier that predicts probabilities, the error rate of another one, the mean
    squared error of a regressor, the mean squared distance to the nearest centre of clusters, and of ``SGDOneClassSVM``
    what it minimises: w²/2 - r + mean(max(0, r - w·x)) / nu, with the coefficients w and the offset r. ``accuracy`` or
    ``r2`` is what ``score`` returns; ``outliers`` is the share of the samples that are taken for outliers.
    """

    def __init__(self, estimator: Any, val_data: Any) -> None:
        """Check the data.

        Args:
            estimator: what is trained.
            val_data: ``(x, y)``; for clusters and outliers ``x`` alone is enough.

        Raises:
            ConfigurationError: it is something else, ``x`` and ``y`` differ in length, or it holds no sample.
        """
        self._estimator = estimator
        self._clusters = hasattr(estimator, "n_clusters")
        self._outliers = is_outlier_detector(estimator)
        pair = val_data if isinstance(val_data, tuple | list) and len(val_data) == 2 else None
        if pair is None and not (self._clusters or self._outliers):
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
        if self._outliers:
            away = estimator.decision_function(x)
            size, below = float(np.square(estimator.coef_).sum()), float(np.maximum(-away, 0.0).mean())
            loss = size / 2 - float(estimator.offset_[0]) + below / estimator.nu
            return Evaluation(loss, {"outliers": float((away < 0).mean())}, self._samples)
        score = float(estimator.score(x, y))
        if not is_classifier(estimator):
            # y may be one column, where the predictions have no columns: their difference would be that of all pairs
            return Evaluation(float(mean_squared_error(y, estimator.predict(x))), {"r2": score}, self._samples)
        if hasattr(estimator, "predict_proba"):
            loss = float(log_loss(y, estimator.predict_proba(x), labels=estimator.classes_))
        else:
            loss = 1.0 - score
        return Evaluation(loss, {"accuracy": score}, self._samples)

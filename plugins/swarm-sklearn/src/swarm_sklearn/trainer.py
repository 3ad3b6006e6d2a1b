"""``SwarmTrainer``: the whole training in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack, cast

import numpy as np
from sklearn.utils import _safe_indexing, check_consistent_length  # the former documented for developers

from swarm import SwarmCallback
from swarm.errors import ConfigurationError
from swarm_sklearn.estimators import initialise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swarm.callback import Arguments
    from swarm_sklearn.callback import SklearnCallback


class SwarmTrainer:
    """Trains an estimator together with the other peers of its swarm.

    ::

        trainer = SwarmTrainer(SGDClassifier(loss="log_loss"), sync_interval=8)
        model = trainer.fit(x, y, epochs=5, classes=[0, 1])
    """

    def __init__(self, estimator: Any, **arguments: Unpack[Arguments]) -> None:
        """Take an estimator that has ``partial_fit``, and the arguments of ``swarm.SwarmCallback``.

        Raises:
            ConfigurationError: the estimator is a class or cannot be merged, or an argument is not allowed.
        """
        if "model" in arguments:
            raise ConfigurationError("model= was given to SwarmTrainer: the estimator is its first argument")
        if isinstance(estimator, type):
            name = estimator.__name__
            raise ConfigurationError(f"SwarmTrainer was given the class {name}: give an instance, such as {name}(...)")
        self.estimator = estimator
        arguments["model"] = estimator
        self.callback = cast("SklearnCallback", SwarmCallback(**arguments))
        """Its ``metrics`` and ``session`` are of interest during and after the training."""

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        classes: Sequence[Any] | None = None,
        seed: int = 0,
    ) -> Any:
        """Train the estimator anew, as ``fit`` of scikit-learn does, and merge every ``sync_interval`` batches.

        With ``resume`` it goes on with the batch after those that the checkpoint has, in the same order of samples.

        Args:
            x: samples of this site, ``[samples, features]``: an array, a sparse matrix or a data frame.
            y: targets, one of each sample; not needed for clusters.
            epochs: how often this site's samples are used; naive Bayes counts each sample once, so 1.
            batch_size: samples of one call of ``partial_fit``.
            classes: all classes of a classifier, the same at each site; by default those in ``y``, which each site
                must then have.
            seed: of the order of the samples.

        Returns:
            The estimator, with the swarm's closing model.

        Raises:
            ConfigurationError: an argument is not allowed, or no swarm is configured.
            StartTimeoutError: too few peers joined.
            IncompatiblePeerError: a peer has other classes, features, parameters or settings.
        """
        callback, estimator = self.callback, self.estimator
        _require_positive("epochs", epochs)
        _require_positive("batch_size", batch_size)
        if callback.family.once and epochs != 1:
            raise ConfigurationError(
                f"epochs={epochs} is not possible with {type(estimator).__name__}, which counts each sample once: use 1"
            )
        check_consistent_length(*([x] if y is None else [x, y]))
        samples = int(x.shape[0]) if hasattr(x, "shape") else len(x)
        if not samples:
            raise ConfigurationError("x holds no samples: a site without data takes part with node_weightage=0")
        initialise(estimator, x, y, classes=classes)
        callback.samples = samples
        random = np.random.default_rng(seed)
        with callback:
            callback.on_train_begin()
            done = callback.resumed
            for _ in range(done.epochs):
                random.permutation(samples)
            first = done.epoch_batches * batch_size
            for _ in callback.epochs(epochs):
                order = random.permutation(samples)
                for start in range(first, samples, batch_size):
                    rows = order[start : start + batch_size]
                    estimator.partial_fit(*(_safe_indexing(each, rows) for each in ([x] if y is None else [x, y])))
                    callback.on_batch_end()
                    if callback.all_done or callback.should_stop:
                        break
                first = 0
            callback.on_train_end()
        return estimator


def _require_positive(name: str, number: object) -> None:
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
        raise ConfigurationError(f"{name}={number!r} is not allowed: allowed is an integer from 1")

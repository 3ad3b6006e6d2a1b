"""An estimator of scikit-learn."""

from __future__ import annotations

import os

import numpy as np
from sklearn.linear_model import SGDClassifier

from benchmarks.matrix.programs.told import tell_model
from swarm_sklearn import SwarmTrainer


def main() -> None:
    """Train, and tell the model that this process ends with."""
    seed = sum(os.environ["SWARM_NAME"].encode())
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(256, 8)), rng.integers(0, 3, 256)
    estimator = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.01, random_state=seed)
    trainer = SwarmTrainer(estimator)
    trainer.fit(x, y, epochs=2, batch_size=16, classes=[0, 1, 2], seed=seed)
    tell_model([estimator.coef_, estimator.intercept_], trainer.callback.metrics)


if __name__ == "__main__":
    main()

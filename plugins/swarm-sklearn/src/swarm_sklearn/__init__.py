"""Swarm learning for the estimators of scikit-learn that learn by ``partial_fit``.

::

    from swarm_sklearn import SwarmTrainer

    model = SwarmTrainer(SGDClassifier(loss="log_loss"), sync_interval=8).fit(x, y, epochs=5, classes=[0, 1])

In a loop of your own, call ``initialise(estimator, x, classes=...)`` first, then the hooks of
``swarm.SwarmCallback(model=estimator)``. ``load_weights(estimator, "MODEL_DIR/swarm-final.safetensors")`` loads the
result later.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarm_sklearn.callback import SklearnCallback
    from swarm_sklearn.estimators import initialise
    from swarm_sklearn.loading import load_weights
    from swarm_sklearn.trainer import SwarmTrainer

__all__ = ["SklearnCallback", "SwarmTrainer", "initialise", "load_weights"]

_MODULES = {
    "SklearnCallback": "swarm_sklearn.callback",
    "SwarmTrainer": "swarm_sklearn.trainer",
    "initialise": "swarm_sklearn.estimators",
    "load_weights": "swarm_sklearn.loading",
}


def __getattr__(name: str) -> object:
    """Import the name, and scikit-learn, on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)

"""Swarm learning for Keras 3, on its TensorFlow, torch and JAX backends.

Pass ``SwarmCallback`` to ``model.fit(callbacks=[...])``, or call its hooks in a custom training loop::

    from swarm_keras import SwarmCallback

    model.fit(x, y, callbacks=[SwarmCallback(sync_interval=128, min_peers=2)])

``load_weights(model, "MODEL_DIR/swarm-final.safetensors")`` loads the result later.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarm_keras.callback import SwarmCallback
    from swarm_keras.loading import load_weights

__all__ = ["SwarmCallback", "load_weights"]

_MODULES = {"SwarmCallback": "swarm_keras.callback", "load_weights": "swarm_keras.loading"}


def __getattr__(name: str) -> object:
    """Import the name, and Keras, on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from swarm.callback import KERAS_2
    from swarm.errors import ConfigurationError

    try:
        import keras

        if not hasattr(keras, "__version__"):
            raise ConfigurationError(f"{keras.__file__} hides the installed keras: give that file another name")
        if not hasattr(keras, "ops"):
            raise ConfigurationError(f"the installed keras {keras.__version__} is too old: {KERAS_2}")
        return getattr(importlib.import_module(_MODULES[name]), name)
    except ModuleNotFoundError as error:
        if error.name not in {"keras", "tensorflow", "torch", "jax"}:
            raise
        from swarm.errors import MissingExtraError

        raise MissingExtraError(
            f"swarm_keras needs {error.name!r}, which is not installed: pip install 'swarm-learning[keras]'"
            " and one of Keras' backends, chosen by KERAS_BACKEND"
        ) from error

"""The installed names of Lightning."""

from __future__ import annotations

import importlib
import importlib.util

from swarm.errors import MissingExtraError

_NAMES = {"lightning": "lightning.pytorch.callbacks", "pytorch_lightning": "pytorch_lightning.callbacks"}


def callback_classes() -> tuple[type, ...]:
    """The ``Callback`` class of each installed flavour, ``lightning`` before ``pytorch_lightning``.

    The two packages contain the same code under two names, and neither Trainer accepts the class of the other.

    Raises:
        MissingExtraError: neither is installed.
    """
    installed = [module for name, module in _NAMES.items() if importlib.util.find_spec(name) is not None]
    if not installed:
        raise MissingExtraError(
            "neither lightning nor pytorch_lightning is installed: pip install 'swarm-learning[lightning]'"
        )
    return tuple(importlib.import_module(module).Callback for module in installed)

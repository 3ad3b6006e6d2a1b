"""The installed names of Lightning."""

from __future__ import annotations

import importlib
import importlib.util

from swarm.errors import ConfigurationError, MissingExtraError

_NAMES = {"lightning": "lightning.pytorch.callbacks", "pytorch_lightning": "pytorch_lightning.callbacks"}


def callback_classes() -> tuple[type, ...]:
    """The ``Callback`` class of each installed flavour, ``lightning`` before ``pytorch_lightning``.

    The two packages contain the same code under two names, and neither Trainer accepts the class of the other.

    Raises:
        ConfigurationError: a file of the user has the name of one.
        MissingExtraError: neither is installed.
    """
    specs = {name: spec for name in _NAMES if (spec := importlib.util.find_spec(name)) is not None}
    for name, spec in specs.items():
        if spec.submodule_search_locations is None:
            raise ConfigurationError(f"{spec.origin} hides the installed {name}: give that file another name")
    installed = [_NAMES[name] for name in specs]
    if not installed:
        raise MissingExtraError(
            "neither lightning nor pytorch_lightning is installed: pip install 'swarm-learning[lightning]'"
        )
    return tuple(importlib.import_module(module).Callback for module in installed)

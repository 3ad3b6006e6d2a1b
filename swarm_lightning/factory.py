"""What Lightning asks for callbacks that a script does not list; loads no framework unless the environment wants one.

The entry points ``lightning.pytorch.callbacks_factory`` and ``pytorch_lightning.callbacks_factory`` name ``callbacks``.
Lightning calls it for every Trainer of every script in the environment.
"""

from __future__ import annotations

import os
from typing import Any

from swarm.errors import ConfigurationError

VARIABLE = "SWARM_LIGHTNING_CALLBACK"
"""The variable that asks for the callback."""
_ON, _OFF = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}


def callbacks() -> list[Any]:
    """The swarm's callback if ``SWARM_LIGHTNING_CALLBACK=true``, else none.

    Raises:
        ConfigurationError: the variable, or one of the settings, has a value that is not allowed.
    """
    asked = os.environ.get(VARIABLE, "").strip().lower()
    if asked in _OFF:
        return []
    if asked not in _ON:
        raise ConfigurationError(f"{VARIABLE}={os.environ[VARIABLE]!r} is not allowed: allowed is true or false")
    from swarm_lightning.added import AddedCallback

    return [AddedCallback()]

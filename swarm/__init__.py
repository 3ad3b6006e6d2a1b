"""Swarm: train one model together without pooling data and without a server.

``SwarmCallback`` goes into the training script; see its docstring for every parameter. ``pool`` gives statistics of the
data of all sites, before training. ``hookimpl`` marks the hooks of a plugin, which ``swarm.plugins`` describes.
Importing this package loads no framework and no gRPC.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from swarm import uncaught
from swarm.errors import (
    AddressError,
    ConfigurationError,
    ExchangeError,
    IdentityError,
    IncompatiblePeerError,
    IncompleteSwarmError,
    MissingExtraError,
    ModelError,
    StartTimeoutError,
    SwarmError,
    TransportError,
    UnknownArgumentError,
    UnreachablePeerError,
)
from swarm.former import accept_former_modules

if TYPE_CHECKING:
    from swarm.callback import SwarmCallback
    from swarm.plugins import hookimpl
    from swarm.pooling import pool

    __version__: str

__all__ = [
    "AddressError",
    "ConfigurationError",
    "ExchangeError",
    "IdentityError",
    "IncompatiblePeerError",
    "IncompleteSwarmError",
    "MissingExtraError",
    "ModelError",
    "StartTimeoutError",
    "SwarmCallback",
    "SwarmError",
    "TransportError",
    "UnknownArgumentError",
    "UnreachablePeerError",
    "__version__",
    "hookimpl",
    "pool",
]

accept_former_modules()
uncaught.install(os.environ)


def __getattr__(name: str) -> object:
    """Load the rest on first use."""
    if name == "SwarmCallback":
        from swarm.callback import SwarmCallback

        return SwarmCallback
    if name == "hookimpl":
        from swarm.plugins import hookimpl

        return hookimpl
    if name == "pool":
        from swarm.pooling import pool

        return pool
    if name == "__version__":
        from importlib.metadata import version

        return version("swarm-learning")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

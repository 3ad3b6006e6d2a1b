"""Every error Swarm raises.

SwarmError
├── ConfigurationError        a setting is unknown, out of range or contradictory (also a ValueError)
│   ├── UnknownArgumentError  an unknown argument of a callback (also a TypeError)
│   └── MissingExtraError     a framework or library that the setting needs is not installed
├── ModelError                a tensor that cannot be merged, or a model that is not built yet
├── IncompatiblePeerError     a peer of this session has another model or other settings
├── StartTimeoutError         fewer than ``min_peers`` peers within ``start_timeout``
├── TransportError            the network
│   ├── AddressError          an address that cannot be parsed or listened on
│   └── UnreachablePeerError  a peer that does not answer
└── ExchangeError             a chunk that contradicts the session's schema, or a failed transfer

Errors of the first four kinds are raised at start. Once training runs, errors in a round are
recorded in its report and never raised into the training loop.
"""

from __future__ import annotations


class SwarmError(Exception):
    """Base of all errors raised by Swarm."""


class ConfigurationError(SwarmError, ValueError):
    """A setting is unknown, out of range, or contradicts another one."""


class UnknownArgumentError(ConfigurationError, TypeError):
    """A callback was called with an argument that it does not take."""


class MissingExtraError(ConfigurationError):
    """A library that a selected feature needs is not installed."""


class ModelError(SwarmError):
    """The model contains a tensor that cannot be merged, or is not built yet."""


class IncompatiblePeerError(SwarmError):
    """A peer of the same session trains another model or uses other settings."""


class StartTimeoutError(SwarmError, TimeoutError):
    """Fewer than ``min_peers`` peers were present within ``start_timeout``."""


class TransportError(SwarmError):
    """Base of network errors."""


class AddressError(TransportError, ConfigurationError):
    """An address cannot be parsed, resolved or listened on."""


class UnreachablePeerError(TransportError):
    """A peer does not answer."""


class ExchangeError(SwarmError):
    """A chunk contradicts the session's schema, or a transfer of weights failed."""

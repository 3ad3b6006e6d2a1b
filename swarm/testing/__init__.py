"""What authors of plugins need for their tests: the contract of each kind of part, and a swarm in one process.

A contract is a class of pytest tests: subclass it in a test module, and name your implementation.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swarm.testing.codecs import CodecContract
    from swarm.testing.discoveries import DiscoveryContract
    from swarm.testing.one_way import OneWayContract
    from swarm.testing.policies import SyncPolicyContract
    from swarm.testing.rules import MergeRuleContract
    from swarm.testing.swarm import ArrayModel, MemorySwarm, SwarmPeer, together
    from swarm.testing.transports import TransportContract

__all__ = [
    "ArrayModel",
    "CodecContract",
    "DiscoveryContract",
    "MemorySwarm",
    "MergeRuleContract",
    "OneWayContract",
    "SwarmPeer",
    "SyncPolicyContract",
    "TransportContract",
    "together",
]

_MODULES: Mapping[str, str] = MappingProxyType(
    {
        "CodecContract": "codecs",
        "DiscoveryContract": "discoveries",
        "MergeRuleContract": "rules",
        "OneWayContract": "one_way",
        "SyncPolicyContract": "policies",
        "TransportContract": "transports",
    }
)
"""Where a name is, if not in ``swarm``."""


def __getattr__(name: str) -> object:
    """Load the module of a name on first use: the contracts need pytest, the swarm in one process does not."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'swarm')}"), name)

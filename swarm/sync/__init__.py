"""When to merge: policies that set the interval between rounds."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from swarm.sync.adacomm import AdaComm
from swarm.sync.base import Signal, SyncPolicy
from swarm.sync.drift import DriftInterval
from swarm.sync.fixed import FixedInterval
from swarm.sync.qsr import QuadraticSynchronization
from swarm.sync.seconds import SecondsInterval
from swarm.sync.typical import typical
from swarm.sync.validation import ValidationInterval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "BUILTIN_POLICIES",
    "AdaComm",
    "DriftInterval",
    "FixedInterval",
    "QuadraticSynchronization",
    "SecondsInterval",
    "Signal",
    "SyncPolicy",
    "ValidationInterval",
    "typical",
]

BUILTIN_POLICIES: Mapping[str, Callable[[int], SyncPolicy]] = MappingProxyType(
    {
        policy.name: policy
        for policy in (
            FixedInterval,
            ValidationInterval,
            AdaComm,
            QuadraticSynchronization,
            DriftInterval,
            SecondsInterval,
        )
    }
)
"""The policies that need no plugin, by name; each is called with the session's ``sync_interval``."""

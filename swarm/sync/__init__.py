"""When to merge: policies that set the interval between rounds."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from swarm.sync.adaptive import ValidationInterval
from swarm.sync.base import SyncPolicy
from swarm.sync.fixed import FixedInterval
from swarm.sync.typical import typical_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["BUILTIN_POLICIES", "FixedInterval", "SyncPolicy", "ValidationInterval", "typical_loss"]

BUILTIN_POLICIES: Mapping[str, Callable[[int], SyncPolicy]] = MappingProxyType(
    {policy.name: policy for policy in (FixedInterval, ValidationInterval)}
)
"""The policies that need no plugin, by name; each is called with the session's ``sync_interval``."""

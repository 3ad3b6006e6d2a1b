"""Every scalar setting of a peer: what it is, what it may be, and where its value came from."""

from __future__ import annotations

from swarm.config.links import is_link
from swarm.config.rates import Rate
from swarm.config.resolve import Resolved, resolve
from swarm.config.settings import SETTINGS, Setting, Settings

__all__ = ["SETTINGS", "Rate", "Resolved", "Setting", "Settings", "is_link", "resolve"]

"""Plugins: the hooks that they implement, and the registry that loads them for one session."""

from __future__ import annotations

from swarm.plugins.hookspecs import Integration, Register, hookimpl
from swarm.plugins.registry import PluginRegistry

__all__ = ["Integration", "PluginRegistry", "Register", "hookimpl"]

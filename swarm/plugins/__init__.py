"""Plugins: the hooks that they implement, and the registry that loads them for one session."""

from __future__ import annotations

from swarm.plugins.exports import ExampleInput, Export, Exporter
from swarm.plugins.hookspecs import (
    DiscoveryFactory,
    Integration,
    PolicyFactory,
    Register,
    TransportFactory,
    hookimpl,
)
from swarm.plugins.registry import PluginRegistry

__all__ = [
    "DiscoveryFactory",
    "ExampleInput",
    "Export",
    "Exporter",
    "Integration",
    "PluginRegistry",
    "PolicyFactory",
    "Register",
    "TransportFactory",
    "hookimpl",
]

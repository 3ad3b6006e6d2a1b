from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from swarm.config import resolve
from swarm.discovery import Discovery
from swarm.errors import ConfigurationError
from swarm.plugins import PluginRegistry
from swarm.transport import GrpcTransport, Transport
from swarm_nats import _plugin


@pytest.fixture
def registry():
    return PluginRegistry(extra={} if entry_points(group="swarm", name="nats") else {"nats": _plugin})


def settings(**given):
    return resolve({"name": "ada", **given}, environment={}, directory=Path("no swarm.toml here")).settings


def test_the_entry_point_names_the_hooks():
    (entry,) = entry_points(group="swarm", name="nats")
    assert entry.load() is _plugin


def test_a_session_can_choose_transport_and_discovery(registry, monkeypatch):
    monkeypatch.setenv("SWARM_NATS_SERVERS", "nats://127.0.0.1:4222")
    assert isinstance(registry.transport("nats")(settings()), Transport)
    assert isinstance(registry.discovery("nats")(settings()), Discovery)


@pytest.mark.parametrize("server", ["nats://hub.example.org", "nats://127.0.0.1,nats://10.0.0.7"])
def test_a_hub_elsewhere_needs_an_identity_or_the_word_insecure(registry, monkeypatch, server):
    monkeypatch.setenv("SWARM_NATS_SERVERS", server)
    with pytest.raises(ConfigurationError, match=r"would see all weights.*insecure=true"):
        registry.transport("nats")(settings())
    assert isinstance(registry.transport("nats")(settings(insecure=True)), Transport)


def test_the_limit_of_a_site_holds_over_the_hub(registry, monkeypatch):
    monkeypatch.setenv("SWARM_NATS_SERVERS", "nats://127.0.0.1:4222")
    for given, limited in (({}, False), ({"max_mbit": "20"}, True)):
        assert registry.transport("nats")(settings(**given))._control.pacing.limited is limited


def test_a_session_can_choose_the_hub_beside_grpc(registry, monkeypatch):
    monkeypatch.setenv("SWARM_NATS_SERVERS", "nats://127.0.0.1:4222")
    made = registry.transport("grpc-nats")(settings(max_mbit="20"))
    assert isinstance(made, GrpcTransport)
    assert made.pacing.limited
    monkeypatch.setenv("SWARM_NATS_SERVERS", "nats://hub.example.org")
    with pytest.raises(ConfigurationError, match="would see all weights"):
        registry.transport("grpc-nats")(settings())


def test_without_servers_a_session_does_not_start(registry, monkeypatch):
    monkeypatch.delenv("SWARM_NATS_SERVERS", raising=False)
    for make in (registry.transport("nats"), registry.transport("grpc-nats"), registry.discovery("nats")):
        with pytest.raises(ConfigurationError, match="need SWARM_NATS_SERVERS"):
            make(settings())


def test_finding_the_plugin_loads_neither_nats_nor_grpc():
    program = "import sys, swarm_nats._plugin; sys.exit(bool({'nats', 'grpc'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0

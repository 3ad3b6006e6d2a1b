from __future__ import annotations

import socket
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, Counter

from swarm.errors import ConfigurationError
from swarm_prometheus.endpoint import Endpoint


def test_nothing_is_served_unless_asked_for():
    assert Endpoint.from_environment({}) is None
    assert Endpoint.from_environment({"SWARM_PROMETHEUS_PORT": ""}) is None


@pytest.mark.parametrize("value", ["tcp://10.0.0.1:9090", " udp://[fd00::1]:9090 "])
def test_a_service_called_swarm_prometheus_is_no_port(value):
    environment = {"SWARM_PROMETHEUS_PORT": value, "SWARM_PROMETHEUS_SERVICE_HOST": "10.0.0.1"}
    assert Endpoint.from_environment(environment) is None


def test_the_port_is_read_and_the_host_is_loopback():
    assert Endpoint.from_environment({"SWARM_PROMETHEUS_PORT": "9400"}) == Endpoint("127.0.0.1", 9400)


def test_the_host_is_read():
    environment = {"SWARM_PROMETHEUS_PORT": "9400", "SWARM_PROMETHEUS_HOST": "::1"}
    assert Endpoint.from_environment(environment) == Endpoint("::1", 9400)


@pytest.mark.parametrize(("port", "expected"), [("9400", 9402), ("0", 0)])
def test_peers_of_one_machine_get_a_port_each(port, expected):
    environment = {"SWARM_PROMETHEUS_PORT": port, "SWARM_RANK": "2"}
    assert Endpoint.from_environment(environment) == Endpoint("127.0.0.1", expected)


@pytest.mark.parametrize(
    "environment",
    [
        {"SWARM_PROMETHEUS_PORT": "http"},
        {"SWARM_PROMETHEUS_PORT": "-1"},
        {"SWARM_PROMETHEUS_PORT": "70000"},
        {"SWARM_PROMETHEUS_PORT": "65535", "SWARM_RANK": "1"},
    ],
)
def test_a_bad_port_is_refused_by_name(environment):
    with pytest.raises(ConfigurationError, match="SWARM_PROMETHEUS_PORT"):
        Endpoint.from_environment(environment)


def test_the_registry_is_served():
    registry = CollectorRegistry()
    Counter("heartbeats", "Beats", registry=registry).inc(3)
    port = Endpoint("127.0.0.1", 0).serve(registry)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert b"heartbeats_total 3.0" in answer.read()


def test_a_port_in_use_is_a_warning_that_names_the_variable(caplog):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert Endpoint("127.0.0.1", taken.getsockname()[1]).serve(CollectorRegistry()) is None
    assert "SWARM_PROMETHEUS_PORT" in caplog.text

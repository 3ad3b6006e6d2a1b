"""From the hooks to a collector, which is a server of this test."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from swarm.errors import ConfigurationError, MissingExtraError
from swarm_opentelemetry import _plugin, settings

HERE = Path(__file__).parent
PROGRAM = """
from happened import closed, finished, started
from swarm.plugins import PluginRegistry
registry = PluginRegistry()
assert not registry.problems, registry.problems
registry.session_started(started())
registry.round_finished(finished(loss=0.5))
registry.session_closed(closed())
"""


class Collector:
    """What was sent to it, by path."""

    def __init__(self) -> None:
        self.got: dict[str, list[bytes]] = {}


@pytest.fixture
def collector() -> Iterator[tuple[str, Collector]]:
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.got.setdefault(self.path, []).append(body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", found
        server.shutdown()


def run(program: str, **variables: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SWARM_", "OTEL_"))}
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**kept, "PYTHONPATH": path, **variables}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_collector_gets_metrics_and_spans(collector):
    address, found = collector
    sending = {
        "SWARM_OPENTELEMETRY_EXPORT": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": address,
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
    }
    run(PROGRAM, **sending)
    assert set(found.got) == {"/v1/traces", "/v1/metrics"}
    spans = [
        (span.name, {each.key: each.value.string_value for each in resource.resource.attributes}["service.name"])
        for body in found.got["/v1/traces"]
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert sorted(spans) == [
        ("swarm.round", "swarm"),
        ("swarm.round.exchange", "swarm"),
        ("swarm.round.load", "swarm"),
        ("swarm.round.wait", "swarm"),
        ("swarm.session", "swarm"),
    ]
    metrics = {
        metric.name
        for body in found.got["/v1/metrics"]
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert {"swarm.rounds", "swarm.round.duration", "swarm.loss", "swarm.peers"} <= metrics


def test_the_name_of_the_service_is_the_users(collector):
    address, found = collector
    run(PROGRAM, SWARM_OPENTELEMETRY_EXPORT="otlp", OTEL_EXPORTER_OTLP_ENDPOINT=address, OTEL_SERVICE_NAME="clinic-7")
    assert any(b"clinic-7" in body for body in found.got["/v1/traces"])


def test_nothing_is_sent_unless_asked_for(collector):
    address, found = collector
    run(PROGRAM, OTEL_EXPORTER_OTLP_ENDPOINT=address)
    assert not found.got


def test_providers_of_the_application_are_used():
    program = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
"""
    check = """
names = {span.name: span.attributes.get("swarm.peer") for span in exporter.get_finished_spans()}
assert names["swarm.round"] == names["swarm.session"] == "berlin", names
"""
    run(program + PROGRAM + check)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"SWARM_OPENTELEMETRY_EXPORT": "jaeger"}, "SWARM_OPENTELEMETRY_EXPORT='jaeger'"),
        ({"SWARM_OPENTELEMETRY_EXPROT": "otlp"}, "SWARM_OPENTELEMETRY_EXPROT"),
    ],
)
def test_a_bad_variable_is_refused_by_name(variables, named):
    with pytest.raises(ConfigurationError, match=named):
        settings.exports(variables)


def test_an_exporter_that_is_not_installed_is_named_at_the_start(monkeypatch):
    monkeypatch.setattr(settings, "find_spec", lambda name: None)
    assert not settings.exports({})
    with pytest.raises(MissingExtraError, match=r"swarm-opentelemetry\[otlp\]"):
        settings.exports({"SWARM_OPENTELEMETRY_EXPORT": "otlp"})


def test_the_entry_point_names_the_hooks():
    (entry,) = entry_points(group="swarm", name="opentelemetry")
    assert entry.load() is _plugin


def test_finding_the_plugin_loads_no_opentelemetry():
    run("import sys, swarm_opentelemetry._plugin; sys.exit('opentelemetry' in sys.modules)")

"""Sets up the SDK of OpenTelemetry to send by OTLP over HTTP. Only with ``SWARM_OPENTELEMETRY_EXPORT=otlp``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

if TYPE_CHECKING:
    from opentelemetry import metrics, trace

SERVICE = "swarm"
"""``service.name``, unless ``OTEL_SERVICE_NAME`` or ``OTEL_RESOURCE_ATTRIBUTES`` says otherwise."""


def start() -> tuple[metrics.MeterProvider, trace.TracerProvider]:
    """Providers that send on threads of their own, and what is left when the process ends.

    They are not made the global ones, so that nothing else in the process is sent.
    """
    said = OTELResourceDetector().detect()
    resource = Resource.create({"service.name": SERVICE, **said.attributes})
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], resource), tracers

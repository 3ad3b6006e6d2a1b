from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from swarm_opentelemetry.spans import Spans

from .happened import SECOND, aborted, closed, finished, skipped, started

SITE = {"swarm.session": "heart", "swarm.peer": "berlin"}


class Telling:
    """Spans at times that the test sets, and what has been written."""

    def __init__(self):
        self.now = 100 * SECOND
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.spans = Spans(provider.get_tracer("swarm"), lambda: self.now)

    def named(self, name):
        return [span for span in self.exporter.get_finished_spans() if span.name == name]


@pytest.fixture
def telling():
    return Telling()


def seconds(span):
    return span.start_time / SECOND, span.end_time / SECOND


def test_a_round_is_a_span_of_its_length_with_its_phases_inside(telling):
    telling.spans.finished(finished(seconds=10.0, waited=6.0, exchanged=3.0), SITE)
    (span,) = telling.named("swarm.round")
    assert seconds(span) == (90, 100)
    phases = [telling.named(f"swarm.round.{name}")[0] for name in ("wait", "exchange", "load")]
    assert [seconds(phase) for phase in phases] == [(90, 96), (96, 99), (99, 100)]
    assert {phase.parent.span_id for phase in phases} == {span.context.span_id}
    assert all(phase.attributes.items() >= SITE.items() for phase in phases)


def test_a_round_says_who_took_part(telling):
    report = {"contributors": ("berlin",), "refused": {"rome": "too far"}, "waited_for": ("rome",), "attempts": 2}
    telling.spans.finished(finished(own_loss=0.5, loss=0.25, bytes_sent=9, bytes_received=8, **report), SITE)
    (span,) = telling.named("swarm.round")
    assert span.status.is_ok
    assert dict(span.attributes) == {
        **SITE,
        "swarm.round": 1,
        "swarm.outcome": "merged",
        "swarm.attempts": 2,
        "swarm.group": ("berlin", "rome"),
        "swarm.contributors": ("berlin",),
        "swarm.missing": (),
        "swarm.refused": ("rome",),
        "swarm.waited_for": ("rome",),
        "swarm.bytes_sent": 9,
        "swarm.bytes_received": 8,
        "swarm.loss": 0.25,
        "swarm.own_loss": 0.5,
    }


def test_phases_that_do_not_fit_stay_inside_the_round(telling):
    telling.spans.finished(finished(seconds=1.0, waited=5.0, exchanged=5.0), SITE)
    for name in ("wait", "exchange", "load"):
        (phase,) = telling.named(f"swarm.round.{name}")
        begin, end = seconds(phase)
        assert 99 <= begin <= end <= 100


def test_rounds_are_part_of_their_session(telling):
    other = {"swarm.session": "lung", "swarm.peer": "berlin"}
    telling.spans.started(started(), SITE)
    telling.spans.started(started("lung"), other)
    telling.now += 5 * SECOND
    telling.spans.finished(finished("lung"), other)
    telling.spans.failed(aborted(), SITE)
    telling.spans.closed(closed())
    telling.spans.closed(closed("lung"))
    heart, lung = telling.named("swarm.session")
    (span,) = telling.named("swarm.round")
    assert span.parent.span_id == lung.context.span_id
    assert span.context.trace_id == lung.context.trace_id != heart.context.trace_id
    assert seconds(heart) == (100, 105)
    assert [(event.name, event.attributes["swarm.reason"]) for event in heart.events] == [
        ("swarm.attempt.aborted", "rome is lost")
    ]
    assert (heart.attributes["swarm.rounds"], heart.attributes["swarm.closing"]) == (7, True)
    assert heart.status.is_ok


def test_a_sync_point_without_a_merge_is_an_error(telling):
    telling.spans.failed(skipped(), SITE)
    (span,) = telling.named("swarm.round")
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "no quorum")
    assert seconds(span) == (97, 100)
    assert span.attributes["swarm.outcome"] == "skipped"


def test_a_session_without_the_closing_model_is_an_error(telling):
    telling.spans.started(started(), SITE)
    telling.spans.closed(closed(closing=False, reason="stopped"))
    (span,) = telling.named("swarm.session")
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "stopped")


def test_a_session_that_never_started_ends_in_silence(telling):
    telling.spans.failed(aborted(), SITE)
    telling.spans.closed(closed(closing=False, reason="the start failed"))
    assert not telling.exporter.get_finished_spans()

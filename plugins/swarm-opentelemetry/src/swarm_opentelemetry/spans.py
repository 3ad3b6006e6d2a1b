"""Events of a session as a trace: one span for the session, one for each round, and one for each phase of a round."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer
    from opentelemetry.util.types import AttributeValue

    from swarm.records import RoundFailed, RoundFinished, RoundReport, SessionClosed, SessionStarted

_NANOSECONDS = 1e9


class Spans:
    """Writes the trace of each session of this process."""

    def __init__(self, tracer: Tracer, now: Callable[[], int] = time.time_ns) -> None:
        """Nothing has begun yet.

        Args:
            tracer: of OpenTelemetry.
            now: nanoseconds since 1970.
        """
        self._tracer = tracer
        self._now = now
        self._sessions: dict[str, Span] = {}

    def started(self, event: SessionStarted, site: dict[str, str]) -> None:
        """Begin the span of the session; it ends with the session."""
        self._sessions[event.session] = self._tracer.start_span(
            "swarm.session", attributes={**site, "swarm.round": event.round}, start_time=self._now()
        )

    def finished(self, event: RoundFinished, site: dict[str, str]) -> None:
        """A round that has just been merged: its span ends now."""
        report, end = event.report, self._now()
        about = _described(report)
        for name, loss in (("swarm.loss", report.loss), ("swarm.own_loss", event.own_loss)):
            if loss is not None:
                about[name] = loss
        begin = end - _nanoseconds(report.seconds)
        span = self._span("swarm.round", begin, site | about, self._parent(event.session))
        inside = set_span_in_context(span)
        waited = min(end, begin + _nanoseconds(report.waited))
        exchanged = min(end, waited + _nanoseconds(report.exchanged))
        for name, since, until in (
            ("swarm.round.wait", begin, waited),
            ("swarm.round.exchange", waited, exchanged),
            ("swarm.round.load", exchanged, end),
        ):
            self._span(name, since, dict(site), inside).end(until)
        span.end(end)

    def failed(self, event: RoundFailed, site: dict[str, str]) -> None:
        """A sync point without a merge has a span too; an aborted attempt is an event of the session."""
        end = self._now()
        if event.report is None:
            if session := self._sessions.get(event.session):
                about: dict[str, AttributeValue] = {"swarm.round": event.round, "swarm.reason": event.reason}
                session.add_event("swarm.attempt.aborted", about, end)
            return
        begin = end - _nanoseconds(event.report.seconds)
        about = _described(event.report)
        span = self._span("swarm.round", begin, site | about, self._parent(event.session))
        span.set_status(Status(StatusCode.ERROR, event.reason))
        span.end(end)

    def closed(self, event: SessionClosed) -> None:
        """End the span of the session; without the closing model its status is an error."""
        span = self._sessions.pop(event.session, None)
        if span is None:
            return
        span.set_attributes(
            {"swarm.rounds": event.rounds, "swarm.closing": event.closing, "swarm.digest": event.digest}
        )
        if not event.closing:
            span.set_status(Status(StatusCode.ERROR, event.reason or "no closing model"))
        span.end(self._now())

    def _parent(self, session: str) -> Context | None:
        span = self._sessions.get(session)
        return None if span is None else set_span_in_context(span)

    def _span(self, name: str, begin: int, about: dict[str, AttributeValue], parent: Context | None) -> Span:
        return self._tracer.start_span(name, parent, SpanKind.INTERNAL, about, start_time=begin)


def _described(report: RoundReport) -> dict[str, AttributeValue]:
    return {
        "swarm.round": report.round,
        "swarm.outcome": str(report.outcome),
        "swarm.attempts": report.attempts,
        "swarm.group": sorted(report.group),
        "swarm.contributors": sorted(report.contributors),
        "swarm.missing": sorted(report.missing),
        "swarm.refused": sorted(report.refused),
        "swarm.waited_for": sorted(report.waited_for),
        "swarm.bytes_sent": report.bytes_sent,
        "swarm.bytes_received": report.bytes_received,
    }


def _nanoseconds(seconds: float) -> int:
    return round(seconds * _NANOSECONDS)

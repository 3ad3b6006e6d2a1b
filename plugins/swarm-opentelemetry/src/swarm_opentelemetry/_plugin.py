"""The hooks. OpenTelemetry is imported at the first event, so a process without a session does not load it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from swarm import hookimpl
from swarm_opentelemetry.settings import exports

if TYPE_CHECKING:
    from swarm.records import RoundFailed, RoundFinished, SessionClosed, SessionStarted
    from swarm_opentelemetry.meters import Meters
    from swarm_opentelemetry.spans import Spans


_first_event = threading.Lock()
_made: list[tuple[Meters, Spans]] = []
_sites: dict[str, dict[str, str]] = {}
"""By session: the attributes that all of its metrics and spans have."""


def _telemetry() -> tuple[Meters, Spans]:
    """Those of this process. Without providers of the plugin, those that the application has set as global ones."""
    with _first_event:
        if not _made:
            from opentelemetry import metrics, trace

            from swarm_opentelemetry.meters import Meters
            from swarm_opentelemetry.spans import Spans

            if exports(os.environ):
                from swarm_opentelemetry.providers import start

                meters, tracers = start()
            else:
                meters, tracers = metrics.get_meter_provider(), trace.get_tracer_provider()
            _made.append((Meters(meters.get_meter("swarm")), Spans(tracers.get_tracer("swarm"))))
        return _made[0]


def _site(session: str) -> dict[str, str]:
    return _sites.get(session, {"swarm.session": session})


@hookimpl
def swarm_register() -> None:
    """Register nothing; raise an error for an invalid variable before training starts."""
    exports(os.environ)


@hookimpl
def swarm_session_started(event: SessionStarted) -> None:
    """Begin the trace of the session."""
    _, spans = _telemetry()
    _sites[event.session] = {"swarm.session": event.session, "swarm.peer": event.peer}
    spans.started(event, _site(event.session))


@hookimpl
def swarm_round_finished(event: RoundFinished) -> None:
    """Record the round and its phases."""
    meters, spans = _telemetry()
    meters.finished(event, _site(event.session))
    spans.finished(event, _site(event.session))


@hookimpl
def swarm_round_failed(event: RoundFailed) -> None:
    """Record what did not become a round."""
    meters, spans = _telemetry()
    meters.failed(event, _site(event.session))
    spans.failed(event, _site(event.session))


@hookimpl
def swarm_session_closed(event: SessionClosed) -> None:
    """End the trace of the session."""
    meters, spans = _telemetry()
    meters.closed(event, _site(event.session))
    spans.closed(event)
    _sites.pop(event.session, None)

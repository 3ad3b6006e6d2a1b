"""The hooks. prometheus_client is imported at the first event, so a process without a session does not load it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from swarm import hookimpl
from swarm_prometheus.endpoint import Endpoint

if TYPE_CHECKING:
    from swarm.records import PeerJoined, PeerLeft, RoundFailed, RoundFinished, SessionClosed
    from swarm_prometheus.exporter import Exporter


_first_event = threading.Lock()
_exporters: list[Exporter] = []


def _exporter() -> Exporter:
    """The exporter of this process. Sessions differ by label. Events come on several threads."""
    with _first_event:
        if not _exporters:
            from prometheus_client import REGISTRY

            from swarm_prometheus.exporter import Exporter

            endpoint = Endpoint.from_environment(os.environ)
            if endpoint is not None:
                endpoint.serve(REGISTRY)
            _exporters.append(Exporter(REGISTRY))
        return _exporters[0]


@hookimpl
def swarm_register() -> None:
    """Register nothing; raise an error for an invalid `SWARM_PROMETHEUS_PORT` before training starts."""
    Endpoint.from_environment(os.environ)


@hookimpl
def swarm_peer_joined(event: PeerJoined) -> None:
    """Add the peer."""
    _exporter().peer_joined(event)


@hookimpl
def swarm_peer_left(event: PeerLeft) -> None:
    """Remove the peer."""
    _exporter().peer_left(event)


@hookimpl
def swarm_round_finished(event: RoundFinished) -> None:
    """Record the duration and the result of the round."""
    _exporter().round_finished(event)


@hookimpl
def swarm_round_failed(event: RoundFailed) -> None:
    """Count the failure."""
    _exporter().round_failed(event)


@hookimpl
def swarm_session_closed(event: SessionClosed) -> None:
    """Keep the totals, and remove all peers."""
    _exporter().session_closed(event)

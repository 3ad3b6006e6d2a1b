"""Events of a session as Prometheus metrics, each labelled with the session's `model_name`."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from swarm.records import PeerId, PeerJoined, PeerLeft, RoundFailed, RoundFinished, SessionClosed

_ROUND_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Buckets from a small model on one machine to gigabytes over a slow link."""


class Exporter:
    """Keeps the metrics of all sessions of this process in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Create the metrics in `registry`; prometheus_client raises an error for a second exporter."""
        session = ("session",)
        self._rounds = Counter("swarm_rounds", "Rounds merged", session, registry=registry)
        self._failures = Counter("swarm_round_failures", "Rounds aborted or skipped", session, registry=registry)
        self._seconds = Histogram(
            "swarm_round_seconds",
            "From a sync point to the merged weights in the model",
            session,
            buckets=_ROUND_SECONDS,
            registry=registry,
        )
        self._stall = Histogram(
            "swarm_stall_seconds",
            "How long training was blocked by a round",
            session,
            buckets=_ROUND_SECONDS,
            registry=registry,
        )
        self._sent = Counter("swarm_sent_bytes", "Bytes sent to peers in rounds", session, registry=registry)
        self._received = Counter("swarm_received_bytes", "Bytes received in rounds", session, registry=registry)
        self._loss = Gauge("swarm_merged_loss", "Validation loss of the last merged model", session, registry=registry)
        self._peers = Gauge(
            "swarm_peers", "Peers of the last round, plus joined and minus left since then", session, registry=registry
        )
        self._present: defaultdict[str, set[PeerId]] = defaultdict(set)

    def peer_joined(self, event: PeerJoined) -> None:
        """Add the peer."""
        session = event.peer.session
        self._present[session].add(event.peer.name)
        self._show_peers(session)

    def peer_left(self, event: PeerLeft) -> None:
        """Remove the peer."""
        self._present[event.session].discard(event.peer)
        self._show_peers(event.session)

    def round_finished(self, event: RoundFinished) -> None:
        """Record the duration and the result of the round; its group replaces the set of peers."""
        session, report = event.session, event.report
        self._rounds.labels(session).inc()
        self._seconds.labels(session).observe(report.seconds)
        self._stall.labels(session).observe(report.stall)
        self._sent.labels(session).inc(report.bytes_sent)
        self._received.labels(session).inc(report.bytes_received)
        if report.loss is not None:
            self._loss.labels(session).set(report.loss)
        self._present[session] = set(report.group)
        self._show_peers(session)

    def round_failed(self, event: RoundFailed) -> None:
        """Count the failure."""
        self._failures.labels(event.session).inc()

    def session_closed(self, event: SessionClosed) -> None:
        """Keep the totals, and remove all peers."""
        self._present.pop(event.session, None)
        self._peers.labels(event.session).set(0)

    def _show_peers(self, session: str) -> None:
        self._peers.labels(session).set(len(self._present[session]))

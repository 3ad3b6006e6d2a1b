"""Events of a session as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

    from swarm.records import RoundFailed, RoundFinished, SessionClosed

SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Limits of the histograms: from a small model on one machine to gigabytes over a slow link."""


class Meters:
    """The instruments. Those of several sessions differ by the attributes ``swarm.session`` and ``swarm.peer``."""

    def __init__(self, meter: Meter) -> None:
        """Create the instruments; names and units follow the semantic conventions of OpenTelemetry."""
        self._rounds = meter.create_counter("swarm.rounds", "{round}", "Rounds merged")
        self._failures = meter.create_counter(
            "swarm.round.failures", "{attempt}", "Attempts or sync points without a merge"
        )
        self._refused = meter.create_counter("swarm.contributions.refused", "{contribution}", "Contributions left out")
        self._seconds, self._stall = (
            meter.create_histogram(name, "s", what, explicit_bucket_boundaries_advisory=SECONDS)
            for name, what in (
                ("swarm.round.duration", "From a sync point to the merged weights in the model"),
                ("swarm.round.stall", "How long training was blocked by a round"),
            )
        )
        self._bytes = meter.create_counter("swarm.round.io", "By", "Bytes that this site sent and received in rounds")
        self._peers = meter.create_gauge("swarm.peers", "{peer}", "Sites in the last round; 0 after the end")
        self._loss = meter.create_gauge("swarm.loss", "1", "Validation loss after and before the last merge")

    def finished(self, event: RoundFinished, site: dict[str, str]) -> None:
        """A round is merged."""
        report = event.report
        self._rounds.add(1, site)
        self._refused.add(len(report.refused), site)
        self._seconds.record(report.seconds, site)
        self._stall.record(report.stall, site)
        for direction, count in (("transmit", report.bytes_sent), ("receive", report.bytes_received)):
            self._bytes.add(count, {**site, "network.io.direction": direction})
        self._peers.set(len(report.group), site)
        for model, loss in (("merged", report.loss), ("own", event.own_loss)):
            if loss is not None:
                self._loss.set(loss, {**site, "swarm.model": model})

    def failed(self, event: RoundFailed, site: dict[str, str]) -> None:
        """An attempt was aborted, or a sync point passed without a merge."""
        self._failures.add(1, {**site, "swarm.failed": "attempt" if event.report is None else "sync_point"})

    def closed(self, event: SessionClosed, site: dict[str, str]) -> None:
        """Nobody takes part any more."""
        self._peers.set(0, site)

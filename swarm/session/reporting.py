"""What a session tells: log lines for the user, events for plugins, metrics for the framework's own log."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

from swarm.records import Outcome, PeerId, RoundFailed, RoundFinished, RoundReport, SessionClosed
from swarm.session.tickets import Answer, Synced

if TYPE_CHECKING:
    from swarm.model import Evaluation, Evaluator
    from swarm.plugins import PluginRegistry
    from swarm.session.engine import Engine


class Reporter:
    """Keeps count of a run's rounds, validates what they give, and says so."""

    def __init__(
        self, session: str, *, evaluate: Evaluator | None, plugins: PluginRegistry, logger: logging.Logger
    ) -> None:
        self.group: tuple[PeerId, ...] = ()
        """Who took part in the last round."""
        self.rounds = 0
        """Rounds that this peer has merged."""
        self.evaluation: Evaluation | None = None
        """Of the last merged model."""
        self._session = session
        self._evaluate = evaluate
        self._plugins = plugins
        self._log = logger
        self._seconds = 0.0
        self._validation_failed = False

    def validate(self) -> None:
        """Evaluate the merged model; whatever goes wrong with that is no reason to stop training."""
        if self._evaluate is None:
            return
        try:
            self.evaluation = self._evaluate()
        except Exception as error:  # noqa: BLE001  (the user's code)
            self.evaluation = None
            level = logging.DEBUG if self._validation_failed else logging.WARNING
            self._validation_failed = True
            text = "validation of the merged model failed, training goes on: %s: %s"
            self._log.log(level, text, type(error).__name__, error, exc_info=error)

    def settled(self, engine: Engine, answer: Synced, *, seconds: float, before: tuple[int, int]) -> RoundReport:
        """A sync point is over: ``seconds`` after it began, with ``before`` bytes sent and received at that time."""
        merged = answer.commit if answer.model else None
        coming = engine.commit.round + 1 if engine.commit else 0
        report = RoundReport(
            outcome=Outcome.CLOSED if answer.closing else Outcome.MERGED if merged else Outcome.SKIPPED,
            round=merged.round if merged else coming,
            group=merged.group if merged else (),
            contributors=merged.contributors if merged else (),
            missing=tuple(sorted({*self.group} - {*merged.group})) if merged else (),
            seconds=seconds,
            bytes_sent=engine.bytes_sent - before[0],
            bytes_received=engine.bytes_received - before[1],
            interval=engine.commit.sync.interval if engine.commit else 0,
            attempts=answer.attempts,
            reason=answer.reason,
            loss=self.evaluation.loss if self.evaluation else None,
            metrics=dict(self.evaluation.metrics) if self.evaluation else {},
        )
        if answer.answer is Answer.MERGED:
            self.rounds += 1
        engine.last_report = {**asdict(report), "outcome": report.outcome.value}
        if report.outcome is Outcome.SKIPPED:
            self._log.warning("round %d skipped: %s", report.round, report.reason)
            failed = RoundFailed(session=self._session, round=report.round, reason=report.reason)
            self._plugins.round_failed(failed)
        else:
            self._finished(report)
        return report

    def _finished(self, report: RoundReport) -> None:
        self.group, self._seconds = report.group, report.seconds
        if report.missing:
            missing = ", ".join(report.missing)
            self._log.warning("round %d went ahead with fewer peers; missing: %s", report.round, missing)
        self._log.info(
            "round %d%s: %d peers, %d contributed, %.2f s%s",
            report.round,
            " (closing)" if report.outcome is Outcome.CLOSED else "",
            len(report.group),
            len(report.contributors),
            report.seconds,
            f", validation loss {report.loss:.4f}" if report.loss is not None else "",
        )
        self._plugins.round_finished(RoundFinished(session=self._session, report=report))

    def closed(self, *, digest: str = "", closing: bool = False, reason: str) -> None:
        """The session is over for this peer."""
        self._plugins.session_closed(
            SessionClosed(session=self._session, rounds=self.rounds, digest=digest, closing=closing, reason=reason)
        )

    def metrics(self, engine: Engine | None) -> dict[str, float]:
        """What is known so far, under names that start with ``swarm_``."""
        metrics = {"swarm_rounds": float(self.rounds), "swarm_bytes_sent": float(engine.bytes_sent if engine else 0)}
        if engine and engine.commit:
            metrics["swarm_sync_interval"] = float(engine.commit.sync.interval)
            metrics["swarm_peers"] = float(len(self.group))
        if self.rounds:
            metrics["swarm_round_seconds"] = self._seconds
        if self.evaluation:
            metrics["swarm_val_loss"] = self.evaluation.loss
            metrics.update({f"swarm_val_{name}": value for name, value in self.evaluation.metrics.items()})
        return metrics

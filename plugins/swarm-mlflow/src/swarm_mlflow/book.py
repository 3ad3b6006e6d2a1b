"""Turns events of a session into runs of MLflow: one for the session, and in it one for each site that logs here."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from swarm_mlflow import models

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from swarm.records import PeerJoined, RoundFailed, RoundFinished, SessionClosed, SessionStarted

SESSION, SITE, LINEAGE, PART = "swarm.session", "swarm.site", "swarm.lineage", "swarm.part"
PATIENCE = 3
"""Rounds for which a site looks for the run of the session before it makes one of its own."""


class Book:
    """The runs of one session at one site."""

    def __init__(self, client: MlflowClient, experiment: str, event: SessionStarted, at: int, *, keep: bool) -> None:
        """Begin the run of this site.

        Args:
            client: of the store.
            experiment: the name of the experiment; made if it is not there.
            event: the start of the session.
            at: milliseconds since 1970.
            keep: whether models are logged.

        Raises:
            MlflowException: the store did not take it.
        """
        self._client = client
        self._keep = keep
        self._site = event.peer
        self._experiment = _experiment(client, experiment)
        tags = {SESSION: event.session, SITE: event.peer, PART: "site"}
        self._run = client.create_run(self._experiment, at, tags, run_name=event.peer).info.run_id
        self._parent = ""
        self._looked = 0
        self._failures = 0
        self._told: set[str] = set()
        self._params({"session": event.session, "site": event.peer, "first_round": event.round})
        self._metrics({"swarm/val_loss": event.loss, **_named(event.metrics)}, event.round, at)

    def joined(self, event: PeerJoined) -> None:
        """The settings that all sites agree on are parameters of the run."""
        self._params(dict(event.peer.settings))

    def finished(self, event: RoundFinished, at: int) -> None:
        """Log the figures of a round, with its number as the step."""
        report = event.report
        figures = {
            "swarm/val_loss": report.loss,
            "swarm/own_val_loss": event.own_loss,
            **_named(report.metrics),
            **_named(event.own_metrics, "own_"),
            "swarm/round": report.round,
            "swarm/peers": len(report.group),
            "swarm/refused": len(report.refused),
            "swarm/seconds": report.seconds,
            "swarm/waited": report.waited,
            "swarm/exchanged": report.exchanged,
            "swarm/bytes_sent": report.bytes_sent,
            "swarm/bytes_received": report.bytes_received,
            "swarm/batches": report.steps.get(self._site),
        }
        self._metrics(figures, report.round, at)
        if not self._parent and report.lineage:
            self._place(event.session, report.lineage, report.group, at)

    def failed(self, event: RoundFailed, at: int) -> None:
        """Count what did not become a round."""
        self._failures += 1
        self._metrics({"swarm/failures": self._failures}, event.round, at)

    def closed(self, event: SessionClosed, at: int) -> None:
        """Log the models, and end the run; that of the session too, if no other site is in it any more."""
        if not self._parent and event.lineage:
            self._looked = PATIENCE
            self._place(event.session, event.lineage, (), at)
        tags = {"swarm.closing": str(event.closing).lower(), "swarm.digest": event.digest, "swarm.record": event.record}
        tags |= {"swarm.reason": event.reason, "swarm.rounds": str(event.all_rounds or event.rounds)}
        self._client.log_batch(self._run, tags=[RunTag(name, value) for name, value in tags.items() if value])
        if self._keep:
            about = {"round": event.round, "digest": event.digest, "closing": event.closing, "session": event.session}
            self._model("closing" if event.closing else "last", event.result, about)
            if event.best is not None:
                best = {"round": event.best.round, "digest": event.best.digest, "score": event.best.score}
                self._model("best", event.best_file, {**best, "session": event.session})
        self._client.set_terminated(self._run, "FINISHED" if event.closing else "FAILED", at)
        if self._parent and not self._others():
            self._client.set_terminated(self._parent, "FINISHED" if event.closing else "FAILED", at)

    def _place(self, session: str, lineage: str, group: tuple[str, ...], at: int) -> None:
        """Put the run of this site into that of the session.

        All sites of a round know its lineage and its group. The first of the group makes the run of the session; the
        others find it. A site that finds none for some rounds, since the first one logs elsewhere, makes one itself.
        """
        wanted = f"tags.`{LINEAGE}` = '{lineage}' and tags.`{PART}` = 'session'"
        found = self._client.search_runs([self._experiment], wanted, max_results=1, order_by=["start_time ASC"])
        if found:
            self._parent = found[0].info.run_id
        elif self._site == min(group, default=self._site) or self._looked >= PATIENCE:
            tags = {SESSION: session, LINEAGE: lineage, PART: "session"}
            self._parent = self._client.create_run(self._experiment, at, tags, run_name=session).info.run_id
        else:
            self._looked += 1
            return
        self._client.set_tag(self._run, MLFLOW_PARENT_RUN_ID, self._parent)

    def _others(self) -> bool:
        wanted = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{self._parent}' and attributes.status = 'RUNNING'"
        return bool(self._client.search_runs([self._experiment], wanted, max_results=1))

    def _model(self, name: str, file: Path | None, about: Mapping[str, Any]) -> None:
        if file is None:
            return
        with tempfile.TemporaryDirectory(prefix="swarm-mlflow-") as directory:
            models.write(Path(directory, name), file, dict(about), self._run)
            self._client.log_artifacts(self._run, str(Path(directory, name)), name)

    def _params(self, values: Mapping[str, object]) -> None:
        """Each once: MLflow refuses another value."""
        new = {name: str(value) for name, value in values.items() if name not in self._told}
        self._told |= new.keys()
        if new:
            self._client.log_batch(self._run, params=[Param(name, value) for name, value in new.items()])

    def _metrics(self, values: Mapping[str, float | None], step: int, at: int) -> None:
        known = [Metric(name, float(value), at, step) for name, value in values.items() if value is not None]
        if known:
            self._client.log_batch(self._run, metrics=known)


def _named(metrics: Mapping[str, float], prefix: str = "") -> dict[str, float]:
    return {f"swarm/{prefix}{name}": value for name, value in metrics.items()}


def _experiment(client: MlflowClient, name: str) -> str:
    """The id of the experiment; another site may make it at the same time."""
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)

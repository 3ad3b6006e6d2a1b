"""Writes down what Swarm tells a peer's plugins."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from benchmarks.fleet.journal import Journal, What
from swarm import hookimpl
from swarm.plugins import PluginRegistry
from swarm.session import Session
from swarm.state import ModelState

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.model import Evaluator, ModelPort
    from swarm.records import Commit, RoundFailed, RoundFinished, RoundStarted, SessionClosed


class Observer:
    """A plugin; also makes the session that it observes, in the place of the callback's usual factory."""

    def __init__(self, journal: Journal) -> None:
        self.round = -1
        """The last round that this peer has."""
        self._journal = journal
        self._session: Session | None = None
        self._port: ModelPort | None = None

    def session(
        self, settings: Settings, port: ModelPort, *, evaluate: Evaluator | None, logger: logging.Logger
    ) -> Session:
        """A session with this plugin beside the installed ones."""
        plugins = PluginRegistry(settings.disabled_plugins, {"benchmark": self})
        self._session, self._port = Session(settings, port, evaluate=evaluate, logger=logger, plugins=plugins), port
        return self._session

    @hookimpl
    def swarm_round_started(self, event: RoundStarted) -> None:
        """Note the attempt."""
        self._journal.note(What.EXCHANGES, round=event.round, group=event.group)

    @hookimpl
    def swarm_round_finished(self, event: RoundFinished) -> None:
        """Note the commit. This is the training thread, so nothing moves the model meanwhile."""
        now, report, commit = time.monotonic(), event.report, self._commit()
        self._journal.note(
            What.ROUND,
            round=report.round,
            lineage=commit.lineage if commit else "",
            digest=commit.digest if commit else "",
            model=self._model(),
            group=report.group,
            contributors=report.contributors,
            attempts=report.attempts,
            offered=now - report.seconds,
        )
        self.round = report.round

    @hookimpl
    def swarm_round_failed(self, event: RoundFailed) -> None:
        """Note the failure."""
        self._journal.note(What.FAILED, round=event.round, reason=event.reason)

    @hookimpl
    def swarm_session_closed(self, event: SessionClosed) -> None:
        """Note the end."""
        self._journal.note(What.CLOSED, digest=event.digest, closing=event.closing, reason=event.reason)

    def _commit(self) -> Commit | None:
        """The record of the last commit: a report tells neither lineage nor digest."""
        engine = self._session._engine if self._session else None  # noqa: SLF001  (see above)
        return engine.commit if engine else None

    def _model(self) -> str:
        if self._port is None:
            return ""
        state = ModelState.empty(self._port.schema())
        self._port.read(state)
        return state.digest()

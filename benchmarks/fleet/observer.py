"""A plugin that writes a peer's events to its journal."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from benchmarks.fleet.journal import Journal, What
from swarm import hookimpl
from swarm.plugins import PluginRegistry
from swarm.session import Session
from swarm.tensors.state import ModelState

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.records import RoundFailed, RoundFinished, RoundStarted, SessionClosed
    from swarm.tensors.model import Evaluator, ModelPort


class Observer:
    """The plugin. It also replaces the callback's factory of sessions, so that it is in the session's plugins."""

    def __init__(self, journal: Journal) -> None:
        self.round = -1
        """The number of this peer's last round."""
        self._journal = journal
        self._port: ModelPort | None = None

    def session(
        self, settings: Settings, port: ModelPort, *, evaluate: Evaluator | None, logger: logging.Logger
    ) -> Session:
        """A session with the installed plugins and this one."""
        plugins = PluginRegistry(settings.disabled_plugins, {"benchmark": self})
        self._port = port
        return Session(settings, port, evaluate=evaluate, logger=logger, plugins=plugins)

    @hookimpl
    def swarm_round_started(self, event: RoundStarted) -> None:
        """Record the attempt."""
        self._journal.note(What.EXCHANGES, round=event.round, group=event.group)

    @hookimpl
    def swarm_round_finished(self, event: RoundFinished) -> None:
        """Record the commit. This runs in the training thread, so the model does not change meanwhile."""
        now, report = time.monotonic(), event.report
        self._journal.note(
            What.ROUND,
            round=report.round,
            lineage=report.lineage,
            digest=report.digest,
            model=self._model(),
            group=report.group,
            contributors=report.contributors,
            attempts=report.attempts,
            offered=now - report.seconds,
        )
        self.round = report.round

    @hookimpl
    def swarm_round_failed(self, event: RoundFailed) -> None:
        """Record the failure."""
        self._journal.note(What.FAILED, round=event.round, reason=event.reason)

    @hookimpl
    def swarm_session_closed(self, event: SessionClosed) -> None:
        """Record the end."""
        self._journal.note(What.CLOSED, digest=event.digest, closing=event.closing, reason=event.reason)

    def _model(self) -> str:
        if self._port is None:
            return ""
        state = ModelState.empty(self._port.schema())
        self._port.read(state)
        return state.digest()

"""What is left of a run when it is over: its models on disk, and the last word on it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from swarm.session.files import FINAL, LOCAL
from swarm.session.writer import Writer
from swarm.state import ModelState, Schema

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.model import ModelPort
    from swarm.records import Commit
    from swarm.session.reporting import Reporter

PATIENCE = 60.0
"""Seconds that a disk may take to do anything at all."""
LEAST_SPEED = 10e6
"""Bytes per second that a disk which does not hang writes at least."""


class Ending:
    """Writes down the model that the peer's own training ended with, and the one that the peer ends with."""

    def __init__(self, settings: Settings, port: ModelPort, reporter: Reporter, logger: logging.Logger) -> None:
        self._settings = settings
        self._port = port
        self._reporter = reporter
        self._log = logger
        self._writer = Writer(settings.model_dir, logger) if settings.model_dir else None

    def trained(self, schema: Schema) -> ModelState:
        """The model that this peer's own training ended with; it is written down while the others are served."""
        own = ModelState.empty(schema)
        self._port.read(own)
        self._write(LOCAL, own, {})
        return own

    def conclude(self, commit: Commit | None, own: ModelState, *, closing: bool, reason: str) -> None:
        """Write down the model that this peer ends with, and say which one it is.

        Args:
            commit: the last one applied here; None for a peer that trained alone.
            own: what ``trained`` gave; its memory is used again if it is written down by now.
            closing: whether the model is the swarm's closing one.
            reason: why it is not, if so.
        """
        final = ModelState.empty(own.schema) if self._writer and self._writer.busy else own
        self._port.read(final)
        about = {"session": self._settings.model_name, "digest": final.digest(), "closing": str(closing).lower()}
        if commit:
            about |= {"lineage": commit.lineage, "round": str(commit.round)}
        self._write(FINAL, final, about)
        self.release(patience=PATIENCE + 2 * final.schema.nbytes / LEAST_SPEED)
        if closing and commit:
            group = len(commit.group)
            self._log.info("closing model of %d peers loaded, digest %s", group, about["digest"])
        elif commit:
            self._log.warning("no closing round (%s); the model is this peer's own", reason)
        self._reporter.closed(digest=about["digest"], closing=closing, reason=reason)

    def release(self, *, patience: float) -> None:
        """Wait for the disk, for at most ``patience`` seconds."""
        if self._writer:
            self._writer.wait(patience)

    def _write(self, name: str, model: ModelState, about: dict[str, str]) -> None:
        if self._writer:
            self._writer.write(name, model, about)

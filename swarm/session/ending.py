"""The end of a run: its models on disk, and the log line that names the result."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from swarm.certification.statements import record_hash
from swarm.errors import IncompleteSwarmError
from swarm.session.participation import UNKNOWN, Attended, absentees, sentence
from swarm.storage.files import BEST, FINAL, LOCAL, OWN, SITE
from swarm.storage.results import Results
from swarm.storage.writer import Writer
from swarm.tensors.shards import joint_digest
from swarm.tensors.state import ModelState, Schema
from swarm.text import MAX_SHOWN, listed, printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from swarm.config import Settings
    from swarm.records import Commit
    from swarm.session.expected import Expected
    from swarm.session.reporting import Reporter
    from swarm.tensors.model import ModelPort

PATIENCE = 60.0
"""Seconds to wait for a disk, whatever the size of the model."""
LONGEST = 2000
"""Characters of the line about sites."""
LEAST_SPEED = 10e6
"""The lowest speed of a disk that does not hang, in bytes per second."""


class Ending:
    """Writes two models to disk: the one after local training, and the one that the peer ends with.

    The state of optimizers is not in the files.
    """

    def __init__(
        self,
        settings: Settings,
        port: ModelPort,
        reporter: Reporter,
        logger: logging.Logger,
        writer: Callable[[Path, logging.Logger], Writer] = Writer,
    ) -> None:
        self._settings = settings
        self._port = port
        self._reporter = reporter
        self._log = logger
        self._results = Results(settings, logger)
        self._make_writer = writer
        self._writer: Writer | None = None
        self.result: Path | None = None
        """The file of the model that this peer ended with; None before that, and without a model directory."""

    def open(self, name: str) -> None:
        """The peer has joined as ``name``: rename the results of an earlier run."""
        self._results.open(name)
        if self._results.directory:
            self._writer = self._make_writer(self._results.directory, self._log)

    def trained(self, schema: Schema) -> ModelState:
        """The model after local training; it is written to disk while the peer serves the others."""
        own = ModelState.empty(schema)
        self._port.read(own)
        if self._writer:
            self._writer.write(LOCAL, own.of_model(), {})
        return own

    def conclude(
        self,
        commit: Commit | None,
        own: ModelState,
        shared: ModelState | None,
        *,
        best: ModelState | None = None,
        reason: str,
        unmerged: int = 0,
        attended: Attended = UNKNOWN,
    ) -> None:
        """Write the model that this peer ends with, and log which one it is.

        Args:
            commit: the last one applied here; None for a peer that trained alone.
            own: the model of ``trained``; its memory is used again if it has been written.
            shared: the swarm's closing model; None if there was no closing round.
            best: its best model; None if it is not kept, or not here.
            reason: why there is none, if so.
            unmerged: batches of this peer that are in no merge.
            attended: which sites took part in which rounds.
        """
        held = ModelState.empty(own.schema) if self._writer and self._writer.busy else own
        self._port.read(held)
        final, alone, closing = shared or held, commit is None, shared is not None
        keeps = closing and bool(own.schema.kept.tensors)
        about = {
            "session": self._settings.model_name,
            "digest": commit.digest if closing and commit else _digest(final.of_model()),
            "closing": str(closing or alone).lower(),
        }
        if commit:
            about |= {"lineage": commit.lineage, "round": str(commit.round), "record": record_hash(commit)}
        name = FINAL if closing or alone else OWN
        if self._writer:
            self._writer.write(name, final.of_model(), about)
            if keeps:
                site = held.of_model()
                self._writer.write(SITE, site, about | {"digest": _digest(site)})
        if best:
            self._write_best(commit, best)
        if self._results.directory:
            self.result = self._results.directory / (SITE if keeps else name)
        written = self.wait(patience=PATIENCE + 2 * final.schema.nbytes / LEAST_SPEED)
        if closing and commit:
            group = len(commit.group)
            self._log.info("closing model of %d peers loaded, digest %s", group, about["digest"])
            if unmerged:
                place = self._results.directory
                kept = f"; the model with them is {place / LOCAL}" if place and LOCAL in written else ""
                text = "batches of this peer that are in no merge and not in that model: %d%s"
                self._log.warning(text, unmerged, kept)
        elif commit:
            self._log.warning("no closing round (%s); the model is this peer's own", reason)
        if name in written and self._results.directory:
            self._log.log(*_sentence(self._results.directory / name, closing=closing, alone=alone))
            if SITE in written:
                text = "for this site's own data use %s: it has this site's own values of %s"
                self._log.info(text, self.result, listed([spec.name for spec in held.schema.kept.tensors]))
        elif self._writer is None:
            self._log.info("no file of the model was written: --model-dir (model_dir) makes one")
        if attended.sites:
            self._log.info("%s", printable(sentence(attended), LONGEST))
        best_file = self._results.directory / BEST if self._results.directory and BEST in written else None
        self._say_best(commit, best_file, here=best is not None)
        self._reporter.closed(
            digest=about["digest"],
            closing=closing,
            reason=reason,
            attended=attended,
            commit=commit,
            head=attended.head,
            directory=self.directory,
            result=self.result if name in written else None,
            best_file=best_file,
        )

    def _write_best(self, commit: Commit | None, model: ModelState) -> None:
        """Begin to write the best model; with one closing record, every peer writes the same bytes."""
        if self._writer is None or commit is None or commit.best is None:
            return
        best = commit.best
        about = {
            "session": self._settings.model_name,
            "digest": best.digest,
            "round": str(best.round),
            "monitor": self._settings.monitor,
            "score": repr(best.score),
            "record": record_hash(commit),
        }
        self._writer.write(BEST, model.of_model(), about)

    def _say_best(self, commit: Commit | None, file: Path | None, *, here: bool) -> None:
        """Log which model is the best one, and where it is."""
        if commit is None or not self._settings.keep_best:
            return
        if commit.best is None:
            text = "keep_best: no site that has a weight has told a finite %s, so there is no best model: give val_data"
            self._log.warning(text, self._settings.monitor)
            return
        best, monitor = commit.best, self._settings.monitor
        what = f"the best model is that of round {best.round}, {monitor} {best.score:.4g}, digest {best.digest}"
        if not here:
            self._log.warning("%s; this peer missed it, and could not fetch it: other peers have the file", what)
        elif file:
            self._log.info("%s: %s", what, file)
        else:
            self._log.info("%s", what)

    def require_members(self, commit: Commit | None, unclosed: str, attended: Attended, expected: Expected) -> None:
        """With ``require_members``: refuse the end as a success where an expected site is not part of it.

        Args:
            commit: the last one.
            unclosed: why there was no closing round; empty if there was one.
            attended: which sites took part in which rounds.
            expected: whom the session expects.

        Raises:
            IncompleteSwarmError: a site is missing.
        """
        settings = self._settings
        group = commit.group if commit else ()
        missing = absentees(group, settings.expected_peers, expected, attended.sites)
        if not settings.require_members or not (missing or unclosed):
            return
        what = f"without {missing}" if missing else f"without a closing round ({printable(unclosed, MAX_SHOWN)})"
        kept = f"; the model that this peer ended with is {self.result}" if self.result else ""
        raise IncompleteSwarmError(
            f"session {settings.model_name} ended {what}, which require_members does not allow{kept}"
        )

    @property
    def directory(self) -> Path | None:
        """Where the files of this run are; None without a model directory."""
        return self._results.directory

    def wait(self, *, patience: float) -> set[str]:
        """Wait for the disk, for at most ``patience`` seconds; returns what was written."""
        return self._writer.wait(patience) if self._writer else set()

    def unlock(self) -> None:
        """Release the directory for the next run; idempotent."""
        self._results.close()


def _digest(model: ModelState) -> str:
    """The digest of a model, in all processes of this site."""
    others = model.others.measure(None) if model.others else ()
    return joint_digest([model.digest(), *(each.root for each in others)]) if others else model.digest()


def _sentence(result: Path | None, *, closing: bool, alone: bool) -> tuple[int, str, Path | None]:
    """The level and text of the log line that names the result."""
    if closing:
        return logging.INFO, "the result is %s: every peer has the same one", result
    if alone:
        return logging.INFO, "the result is %s: this peer trained alone", result
    return logging.WARNING, "there is no result of the swarm; this peer's own model is %s", result

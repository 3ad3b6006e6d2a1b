"""The hook sequence that every framework integration wraps: begin, advance, epoch_end, end.

All of it runs on the training thread. Between merges it only counts; at a sync point it copies the weights out, hands
them to the worker, and writes back what comes of it.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from swarm.clock import MonotonicClock
from swarm.config import Settings
from swarm.errors import IncompatiblePeerError, StartTimeoutError, SwarmError
from swarm.logs import configure_from_environment
from swarm.plugins import PluginRegistry
from swarm.records import (
    Commit,
    ContributionStats,
    Outcome,
    PeerStatus,
    RoundReport,
)
from swarm.session.arithmetic import distance, move
from swarm.session.checkpoints import Checkpoints, checkpoint_directory, latest
from swarm.session.files import FINAL, LOCAL, write_model
from swarm.session.reporting import Reporter
from swarm.session.signals import leave_on_sigterm
from swarm.session.tickets import Answer, Synced
from swarm.session.wiring import Network, build_engine, network_of
from swarm.state import ModelState, Schema

if TYPE_CHECKING:
    from swarm.model import Evaluator, ModelPort
    from swarm.session.engine import Engine

NEVER = sys.maxsize
"""Batches to the next sync point of a peer that trains alone."""

NetworkFactory = Callable[[Settings, PluginRegistry], Network]


class Session:
    """One training run of one peer, from joining the swarm to its closing model."""

    def __init__(
        self,
        settings: Settings,
        port: ModelPort,
        *,
        evaluate: Evaluator | None = None,
        logger: logging.Logger | None = None,
        plugins: PluginRegistry | None = None,
        network: NetworkFactory = network_of,
    ) -> None:
        """Nothing is opened before ``begin``.

        Args:
            settings: resolved settings of this peer.
            port: the model.
            evaluate: validates the merged model after every merge.
            logger: where the session reports; ``swarm`` by default.
            plugins: those of this session; the installed ones by default.
            network: makes the transport and the membership.
        """
        self.over = False
        """Whether the session is closed, or this peer is no longer part of it."""
        self.batches_left = NEVER
        """Local batches to the next sync point."""
        self._settings = settings
        self._port = port
        self._log = logger or logging.getLogger("swarm")
        self._network = network
        self._plugins = plugins or PluginRegistry(settings.disabled_plugins)
        self._reporter = Reporter(settings.model_name, evaluate=evaluate, plugins=self._plugins, logger=self._log)
        self._engine: Engine | None = None
        self._capture: ModelState | None = None
        self._restore_signals: Callable[[], None] = lambda: None
        self._interval = NEVER
        self._batches = 0
        self._captured_at = 0
        self._merged_up_to = 0

    # The hook sequence -----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Join the session and load the weights that its peers start from, or the model of a running swarm.

        Raises:
            ConfigurationError: no swarm is configured, or a setting names something unknown.
            ModelError: the model is not built, or holds a tensor that cannot be merged.
            AddressError: the address cannot be listened on.
            IncompatiblePeerError: peers train another model, or under contradicting settings.
            StartTimeoutError: fewer than ``min_peers`` peers came within ``start_timeout`` seconds.
        """
        configure_from_environment()
        try:
            self._join()
        except SwarmError as error:
            # Before the traceback, a sentence for whoever reads the log.
            self._log.error("%s", error)
            self.abort("the start failed")
            raise
        except BaseException:
            self.abort("the start failed")
            raise
        if self._engine:
            self._reporter.validate()

    def advance(self, batches: int = 1, *, at_boundary: bool = True, loss: float | None = None) -> RoundReport | None:
        """Count local batches; at the first boundary at or after the interval's last one, merge.

        Args:
            batches: batches since the last call.
            at_boundary: whether no gradient is pending, so that weights may change.
            loss: training loss of the last batch, for the live display.

        Returns:
            What came of the sync point, or None where there was none.
        """
        self._batches += batches
        if self.batches_left != NEVER:
            self.batches_left -= batches
        if not at_boundary or self.over or self.batches_left > 0:
            return None
        if self._engine is None or self._capture is None:
            return None
        self._engine.training_loss = loss
        return self._sync(self._engine, self._capture)

    def epoch_end(self, epoch: int) -> None:
        """Note the end of epoch ``epoch`` for progress."""
        total = self._settings.total_epochs
        if self._engine is not None:
            self._log.debug("epoch %d%s done", epoch, f" of {total}" if total else "")

    def end(self) -> None:
        """Merge what is left, serve the others until all are done, and load the closing model."""
        engine, capture = self._engine, self._capture
        own = ModelState.empty(capture.schema if capture else self._port.schema())
        self._port.read(own)
        self._write(LOCAL, own, {})
        if engine is None or capture is None:
            self.over = True
            self._conclude(None, own, closing=False, reason="it trained alone")
            return
        closing, reason = bool(engine.commit and engine.commit.closing), "the session was over before"
        try:
            while self._batches > self._merged_up_to and not self.over:
                if self._sync(engine, capture).outcome is Outcome.SKIPPED:
                    break
            if not self.over:
                status = PeerStatus(self._settings.checkin_model_on_train_end)
                self._log.info("%s has finished, serving as %s until all are done", self._settings.name, status)
                answer = self._serve(engine, status, own)
                closing, reason = answer.closing, answer.reason
            elif closing and engine.reference:
                self._port.write(engine.reference)
        except BaseException:
            self.abort("it was interrupted before the closing round")
            raise
        self.over = True
        engine.close("training is over", linger=2 * self._settings.failure_timeout)
        self._release(patience=60.0)
        self._conclude(engine, own, closing=closing, reason=reason)

    def abort(self, reason: str) -> None:
        """Leave politely and at once; idempotent, never raises."""
        engine = self._engine
        self.over = True
        if engine is None or engine.stopping:
            return
        try:
            engine.close(reason, linger=0.0)
            self._release(patience=3.0)
            self._reporter.closed(reason=reason)
        except Exception:  # noqa: BLE001  (the caller is on its way out, often because of another error)
            self._log.exception("leaving failed")

    def _release(self, *, patience: float) -> None:
        """Let go of what outlives the worker, waiting for the disk for at most ``patience`` seconds."""
        self._restore_signals()
        if self._engine and self._engine.checkpoints:
            self._engine.checkpoints.close(timeout=patience)

    def metrics(self) -> dict[str, float]:
        """What is known of the swarm so far, under names that start with ``swarm_``."""
        return self._reporter.metrics(self._engine)

    def _resumed(self, schema: Schema) -> tuple[Commit, ModelState] | None:
        """The commit to go on from; its model is loaded. A closed run is only the start of a new one."""
        settings = self._settings
        found = latest(checkpoint_directory(settings), schema) if settings.resume and settings.model_dir else None
        if found is None:
            return None
        commit, model = found
        self._port.write(model)
        self._log.info("resuming from round %d%s", commit.round, ", which closed its run" if commit.closing else "")
        return None if commit.closing else found

    # Sync points -----------------------------------------------------------------------------------------------------

    def _join(self) -> None:
        settings = self._settings
        settings.require_swarm()
        if settings.loopback:
            self._log.info("loopback: %s trains alone", settings.name)
            return
        schema = self._port.schema()
        self._capture = ModelState.empty(schema)
        resumed = self._resumed(schema)
        network = self._network(settings, self._plugins)
        engine = self._engine = build_engine(settings, self._plugins, schema, self._log, network)
        self._log.info(
            "%s of session %s listens at %s; %d tensors, %.1f MB; waiting for %s",
            settings.name,
            settings.model_name,
            engine.address,
            len(schema.tensors),
            schema.nbytes / 1e6,
            f"{settings.expected_peers} peers" if settings.expected_peers else f"at least {settings.min_peers} peers",
        )
        if settings.model_dir:
            place, every = checkpoint_directory(settings), settings.checkpoint_seconds
            engine.checkpoints = Checkpoints(place, every=every, clock=MonotonicClock(), logger=self._log)
        engine.start(resumed)
        self._restore_signals = leave_on_sigterm(self.abort)
        self._start(engine, self._capture)

    def _start(self, engine: Engine, capture: ModelState) -> None:
        self._port.read(capture)
        stats = self._stats(engine, PeerStatus.TRAINING, capture)
        if engine.commit:
            # Resumed: it has nothing new to contribute, and would only hold the others back.
            stats = replace(stats, weightage=0)
        answer = engine.offer(capture, stats)
        if answer.model is not None and answer.commit is not None:
            self._port.write(answer.model)
            self._interval = self.batches_left = answer.commit.sync.interval
            self._reporter.group = answer.commit.group
            self._log.info("%d peers start from the same weights", len(answer.commit.members))
            if answer.commit.closing:
                self.over = True
        elif answer.answer is Answer.SKIPPED and engine.commit:
            self._interval = self.batches_left = engine.commit.sync.interval
            self._log.warning("resumed round %d alone: %s", engine.commit.round, answer.reason)
        elif engine.refusal:
            raise IncompatiblePeerError(f"{engine.refusal} ({answer.reason})")
        else:
            absent = sorted({*self._settings.members} - engine.met - {self._settings.name})
            missing = f"; missing: {', '.join(absent)}" if absent else ""
            raise StartTimeoutError(f"session {self._settings.model_name} did not start: {answer.reason}{missing}")

    def _sync(self, engine: Engine, capture: ModelState) -> RoundReport:
        """Offer what this peer holds to the next round, and take on what comes of it."""
        started, sent = time.perf_counter(), (engine.bytes_sent, engine.bytes_received)
        fresh = not engine.pending
        while True:
            if fresh:
                self._port.read(capture)
                self._captured_at = self._batches
            answer = engine.offer(capture, self._stats(engine, PeerStatus.TRAINING, capture))
            if answer.model is None:
                break
            self._take_over(answer, answer.model, capture, unchanged=fresh)
            if answer.answer is Answer.LATE and answer.commit:
                self._reporter.rounds += 1
                self._log.info("round %d was decided after its sync point; it is merged in now", answer.commit.round)
            if answer.answer is Answer.MERGED or answer.closing:
                break
            fresh = True
        return self._settle(engine, answer, time.perf_counter() - started, sent)

    def _serve(self, engine: Engine, status: PeerStatus, own: ModelState) -> Synced:
        """Take part in rounds without training, until the closing one or until there is nobody to go on with."""
        while True:
            started, sent = time.perf_counter(), (engine.bytes_sent, engine.bytes_received)
            answer = engine.offer(own, self._stats(engine, status, own))
            if answer.model is not None:
                self._port.write(answer.model)
            if answer.closing or answer.model is None or answer.answer is Answer.MERGED:
                self._settle(engine, answer, time.perf_counter() - started, sent)
            if answer.closing or answer.model is None:
                return answer

    def _take_over(self, answer: Synced, committed: ModelState, capture: ModelState, *, unchanged: bool) -> None:
        """Bring the model to a committed one; steps that are in no committed merge yet stay on top of it."""
        merged = answer.answer is not Answer.HEALED or answer.before is capture
        before = capture if merged else answer.before
        if answer.closing or before is None or (answer.answer is Answer.MERGED and unchanged):
            self._port.write(committed)
        else:
            current = ModelState.empty(capture.schema)
            self._port.read(current)
            move(current, before, committed)
            self._port.write(current)
        if merged:
            self._merged_up_to = self._captured_at

    def _stats(self, engine: Engine, status: PeerStatus, capture: ModelState) -> ContributionStats:
        reference, finite = engine.reference, capture.finite()
        return ContributionStats(
            peer=self._settings.name,
            round=0,
            weightage=self._settings.node_weightage,
            status=status,
            steps=(self._batches if status.finished else self._captured_at) - self._merged_up_to,
            finite=finite,
            delta_norm=distance(capture, reference) if finite and reference else 0.0,
            loss=self._reporter.evaluation.loss if self._reporter.evaluation else None,
        )

    def _settle(self, engine: Engine, answer: Synced, seconds: float, before: tuple[int, int]) -> RoundReport:
        """Validate, report, and count anew."""
        if answer.model is not None:
            self._reporter.validate()
        if engine.commit:
            self._interval = engine.commit.sync.interval
        self.batches_left = self._interval
        self.over = self.over or answer.closing or answer.answer is Answer.ENDED
        return self._reporter.settled(engine, answer, seconds=seconds, before=before)

    # The end ---------------------------------------------------------------------------------------------------------

    def _conclude(self, engine: Engine | None, own: ModelState, *, closing: bool, reason: str) -> None:
        """Write the model that this peer ends with, and say which one it is."""
        self._port.read(own)
        commit = engine.commit if engine else None
        about = {"session": self._settings.model_name, "digest": own.digest(), "closing": str(closing).lower()}
        if commit:
            about |= {"lineage": commit.lineage, "round": str(commit.round)}
        self._write(FINAL, own, about)
        if closing and commit:
            group = len(commit.group)
            self._log.info("closing model of %d peers loaded, digest %s", group, about["digest"])
        elif engine:
            self._log.warning("no closing round (%s); the model is this peer's own", reason)
        self._reporter.closed(digest=about["digest"], closing=closing, reason=reason)

    def _write(self, name: str, model: ModelState, about: dict[str, str]) -> None:
        directory = self._settings.model_dir
        if directory is None:
            return
        try:
            write_model(directory / name, model, about)
        except OSError as error:
            self._log.error("%s was not written to %s: %s", name, directory, error)

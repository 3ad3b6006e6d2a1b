"""The hook sequence that every framework integration wraps: begin, advance, epoch_end, end.

All of it runs on the training thread. Between merges it only counts; at a sync point it copies or borrows the weights
to the worker, and writes back what comes of it: at once, or, where rounds overlap with the training, at a later batch.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from swarm.clock import duration
from swarm.config import Settings
from swarm.errors import SwarmError
from swarm.logs import configure_from_environment
from swarm.peer.futures import Answer, Synced
from swarm.peer.progress import Progress
from swarm.peer.status import TrainingStatus
from swarm.plugins import PluginRegistry
from swarm.records import Commit, ContributionStats, Outcome, PeerStatus, RoundReport
from swarm.session.ending import PATIENCE, Ending
from swarm.session.naming import Naming, resumed_name
from swarm.session.note import SessionNote
from swarm.session.pending import Background, PendingAnswer, measured
from swarm.session.platform import Platform
from swarm.session.reporting import Reporter
from swarm.session.starting import failure, resumed_from, say_where
from swarm.session.timing import Timing
from swarm.session.weights import Weights
from swarm.session.wiring import Network, build_engine, network_of
from swarm.storage.checkpoints import Checkpoints
from swarm.tensors.capture import faulty, replaced_state
from swarm.tensors.state import ModelState, Schema

if TYPE_CHECKING:
    from pathlib import Path

    from swarm.peer.engine import Engine
    from swarm.tensors.model import Evaluator, ModelPort

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
        platform: Platform | None = None,
    ) -> None:
        """Nothing is opened before ``begin``.

        Args:
            settings: resolved settings of this peer.
            port: the model.
            evaluate: validates the merged model after every merge.
            logger: where the session reports; ``swarm`` by default.
            plugins: those of this session; the installed ones by default.
            network: makes the transport and the membership.
            platform: what the session takes from the computer; this one by default.
        """
        self.over = False
        """Whether the session is closed, or this peer is no longer part of it."""
        self.batches_left = NEVER
        """Local batches to the next sync point, or to the next look at a round that is under way."""
        self._settings = settings
        self._port = port
        self._log = logger or logging.getLogger("swarm")
        self._network = network
        self._plugins = plugins or PluginRegistry(settings.disabled_plugins)
        self._platform = platform or Platform()
        self._executor = self._platform.executor
        self._checkpoints: Checkpoints | None = None
        self._progress = Progress(settings.total_epochs, self._executor)
        self._training = TrainingStatus(progress=self._progress)
        self._reporter = Reporter(
            settings.model_name,
            evaluate=evaluate,
            training=self._training,
            plugins=self._plugins,
            logger=self._log,
        )
        self._ending = Ending(settings, port, self._reporter, self._log)
        self._validates = evaluate is not None
        self._engine: Engine | None = None
        self._weights: Weights | None = None
        self._background: Background | None = None
        self._pending: PendingAnswer | None = None
        self._timing = Timing((0, 0), self._executor)
        self._restore_signals: Callable[[], None] = lambda: None
        self._interval = NEVER
        self._offered_at = 0
        self._naming = Naming(settings)
        self._note = SessionNote(settings)

    @property
    def result(self) -> Path | None:
        """The file of the model that this peer ended with; None before that, and without a model directory."""
        return self._ending.result

    @property
    def commit(self) -> Commit | None:
        """The last committed round applied here."""
        return self._engine.commit if self._engine else None

    @property
    def reference(self) -> ModelState | None:
        """The merged model of that round, which is never changed; None before the first and after the end."""
        return self._engine.reference if self._engine else None

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
        except BaseException as error:
            if isinstance(error, SwarmError):  # before the traceback, a sentence for whoever reads the log
                self._log.error("%s", error)
            self.abort("the start failed")
            raise
        if self._engine:
            self._reporter.validate()
        self._progress.begin()

    def advance(self, batches: int = 1, *, at_boundary: bool = True, loss: float | None = None) -> RoundReport | None:
        """Count local batches; at the first boundary at or after the interval's last one, merge.

        Where rounds overlap with the training, it only begins the round there, and takes on what came of it at the
        first boundary after that is known, the next sync point at the latest.

        Args:
            batches: batches since the last call.
            at_boundary: whether no gradient is pending, so that weights may change.
            loss: training loss of the last batch, for the live display.

        Returns:
            What came of a sync point, or None where there is nothing to tell.
        """
        if self._weights:
            self._weights.batches += batches
        if self.batches_left != NEVER:
            self.batches_left -= batches
        if not at_boundary or self.over or self.batches_left > 0:
            return None
        if self._engine is None or self._weights is None:
            return None
        self._training.loss = loss
        if self._background:
            return self._look(self._engine, self._weights)
        return self._sync(self._engine, self._weights)

    def epoch_end(self, epoch: int) -> None:
        """Note the end of epoch ``epoch``, counted from 0, for progress."""
        progress = self._progress
        progress.epoch_ended(epoch)
        left = progress.seconds_left()
        self._log.debug("epoch %s done%s", str(progress), "" if left is None else f", ETA {duration(left)}")

    def end(self) -> None:
        """Merge what is left, serve the others until all are done, and load the closing model."""
        engine, weights = self._engine, self._weights
        if engine is None or weights is None:
            self.over = True
            own = self._ending.trained(self._port.schema())
            self._ending.conclude(None, own, closing=False, reason="it trained alone")
            return
        try:
            while self._pending and not self.over:
                self._timing.halt()
                self._take_on(engine, weights)
                self._timing.go_on()
            own = self._ending.trained(weights.schema)
            closing, reason = bool(engine.commit and engine.commit.closing), "the session was over before"
            while weights.unmerged and not self.over:
                if self._sync(engine, weights).outcome is Outcome.SKIPPED:
                    break
            if not self.over:
                status = PeerStatus(self._settings.checkin_model_on_train_end)
                self._log.info("%s has finished, serving as %s until all are done", self._settings.name, status)
                answer = self._serve(engine, weights, status, own)
                closing, reason = answer.closing, answer.reason
            elif closing and engine.reference:
                self._port.write(engine.reference)
        except BaseException:
            self.abort("it was interrupted before the closing round")
            raise
        self.over = True
        try:
            engine.close("training is over", linger=2 * self._settings.failure_timeout)
            self._release(patience=PATIENCE)
            self._ending.conclude(engine.commit, own, closing=closing, reason=reason, unmerged=weights.unmerged)
        finally:
            self._ending.unlock()
        self._note.ended(engine, result=self.result, closing=closing, reason=reason)

    def abort(self, reason: str, *, unintended: bool = False) -> None:
        """Leave politely and at once; idempotent, never raises. The others warn of what is ``unintended``."""
        engine = self._engine
        self.over = True
        if engine is None:
            self._note.ended(None, result=None, closing=False, reason=reason)
            self._ending.unlock()
            return
        if engine.stopping:
            return  # who stopped it may still be writing the results
        try:
            engine.close(reason, linger=0.0, unintended=unintended)
            self._note.ended(engine, result=None, closing=False, reason=reason)
            self._release(patience=3.0)
            self._ending.release(patience=3.0)
            self._reporter.closed(reason=reason)
        except Exception:  # noqa: BLE001  (the caller is on its way out, often because of another error)
            self._log.exception("leaving failed")
        finally:
            self._ending.unlock()

    def _release(self, *, patience: float) -> None:
        """Let go of what outlives the worker, waiting for the disk for at most ``patience`` seconds."""
        self._restore_signals()
        self._background = self._weights = self._pending = None
        if self._checkpoints:
            self._checkpoints.close(timeout=patience)

    def status(self) -> dict[str, Any]:
        """What ``swarm status`` shows of this peer, in JSON types; empty where it has joined nobody."""
        return self._engine.status() if self._engine else {}

    def metrics(self) -> dict[str, float]:
        """What is known of the swarm so far, under names that start with ``swarm_``."""
        return self._reporter.metrics(self._engine)

    # Sync points -----------------------------------------------------------------------------------------------------

    def _join(self) -> None:
        settings = self._settings
        settings.require_swarm()
        if settings.loopback:
            self._ending.open(settings.name)
            self._log.info("loopback: %s trains alone", settings.name)
            return
        self._note.began()
        schema = self._port.schema()
        self._settings = replace(settings, name=resumed_name(settings))
        while not self._meet(schema):
            pass  # another peer has the default name: once more, under one with a number
        self._ending.open(self._settings.name)
        self._background = Background(self._executor) if settings.overlap else None

    def _meet(self, schema: Schema) -> bool:
        """Join under the name of the settings; False where another peer has it and this one has chosen another."""
        settings = self._settings
        store = self._platform.checkpoint_store(settings)
        resumed = resumed_from(store, schema, self._port, self._log) if store and settings.resume else None
        if store:
            every = settings.checkpoint_seconds
            self._checkpoints = Checkpoints(store, every=every, executor=self._executor, logger=self._log)
        engine = self._engine = build_engine(
            settings,
            self._plugins,
            schema,
            self._log,
            self._network(settings, self._plugins),
            validates=self._validates,
            executor=self._executor,
            incarnation=self._platform.incarnation(),
            training=self._training,
            checkpoints=self._checkpoints,
            name_patience=self._naming.patience,
        )
        self._weights = Weights(self._port, schema, borrow=not settings.overlap)
        say_where(settings, engine, schema, self._log)
        engine.start(resumed)
        self._restore_signals = self._platform.on_sigterm(self.abort)
        return self._start(engine, self._weights)

    def _start(self, engine: Engine, weights: Weights) -> bool:
        capture = weights.take(keep=False)
        stats = measured(self._stats(weights, PeerStatus.TRAINING), capture, engine.reference)
        if engine.commit:
            # Resumed: it has nothing new to contribute, and would only hold the others back.
            stats = replace(stats, weight=0)
        odd = "" if stats.finite else ", ".join(faulty(capture))
        answer = engine.offer(capture, stats)
        weights.settle(pending=engine.pending)
        if answer.model is not None and answer.commit is not None:
            self._port.write(answer.model)
            if odd:
                self._log.warning("NaN or infinity here in %s; the weights of the swarm take their place", odd)
            self._interval = self.batches_left = answer.commit.sync.interval
            self._reporter.began(answer.answer, answer.commit, replaced_state(capture, answer.model))
            if answer.commit.closing:
                self.over = True
        elif answer.answer is Answer.SKIPPED and engine.commit:
            self._interval = self.batches_left = engine.commit.sync.interval
            self._log.warning("resumed round %d alone: %s", engine.commit.round, answer.reason)
        elif engine.name_taken and not self._settings.named:
            self._rename(engine)
            return False
        else:
            raise failure(self._settings, engine, answer, odd)
        return True

    def _rename(self, engine: Engine) -> None:
        """Leave, and choose a name that nobody has, as far as is known here."""
        engine.close("its name is taken", linger=0.0)
        self._release(patience=3.0)
        taken = self._settings.name
        self._settings = replace(self._settings, name=self._naming.after(taken, engine.names))
        self._log.info("this peer is called %s, as the name %s is taken", self._settings.name, taken)

    def _sync(self, engine: Engine, weights: Weights) -> RoundReport:
        """Come to a sync point, and stay until it is over."""
        self._come(engine, weights)
        report = None
        while report is None:
            report = self._take_on(engine, weights)
        return report

    def _look(self, engine: Engine, weights: Weights) -> RoundReport | None:
        """Overlapping: come to a sync point and go on, or take on what came of the last one if that is known."""
        report = None
        if self._pending:
            if not self._pending.ready and weights.batches - self._offered_at < self._interval:
                self.batches_left = 1
                return None
            self._timing.halt()
            report = self._take_on(engine, weights)
        if self._pending is None and self.batches_left <= 0 and not self.over:
            self._come(engine, weights)
        if self._pending:
            self.batches_left = 1
            self._timing.go_on()
        return report

    def _come(self, engine: Engine, weights: Weights) -> None:
        """A sync point begins: offer the model, or what was offered before and may still be merged."""
        self._timing = Timing(engine.traffic, self._executor)
        self._offer(engine, weights, keep=engine.pending)

    def _offer(self, engine: Engine, weights: Weights, *, keep: bool) -> None:
        """Offer to the next round what this peer holds."""
        capture = weights.take(keep=keep)
        self._offered_at = weights.batches
        stats = self._stats(weights, PeerStatus.TRAINING)
        try:
            self._pending = PendingAnswer(engine, capture, stats, self._executor, self._background)
        except BaseException:
            # The offer stands, and whoever interrupted the wait for its answer, as in a notebook, may train on.
            weights.settle(pending=True)
            raise

    def _take_on(self, engine: Engine, weights: Weights) -> RoundReport | None:
        """Wait for what comes of an offer and take it over; None where that was not the round that it was made for."""
        pending = self._pending
        if pending is None:
            raise ValueError("nothing was offered")
        answer = pending.wait()
        self._pending = None
        self._reporter.left_out(pending.odd)
        weights.settle(pending=engine.pending)
        if answer.model is not None:
            weights.take_over(pending, answer, answer.model)
            if answer.answer is Answer.LATE and answer.commit and not answer.idle:
                self._reporter.rounds += 1
                self._log.info("round %d was decided after its sync point; it is merged in now", answer.commit.round)
            if answer.answer is not Answer.MERGED and not answer.closing:
                self._offer(engine, weights, keep=False)
                return None
        return self._settle(engine, weights, answer)

    def _serve(self, engine: Engine, weights: Weights, status: PeerStatus, own: ModelState) -> Synced:
        """Take part in rounds without training, until the closing one or until there is nobody to go on with."""
        while True:
            self._timing, self._offered_at = Timing(engine.traffic, self._executor), weights.batches
            answer = engine.offer(own, measured(self._stats(weights, status), own, engine.reference))
            if answer.model is not None:
                weights.load(answer.model)
            if answer.commit and self._settings.name in answer.commit.contributors:
                weights.served(late=answer.answer is not Answer.MERGED)
            if answer.closing or answer.model is None or answer.answer is Answer.MERGED:
                self._settle(engine, weights, answer)
            if answer.closing or answer.model is None:
                return answer

    def _stats(self, weights: Weights, status: PeerStatus) -> ContributionStats:
        """What this peer says of its weights, but for what must be computed from them."""
        return ContributionStats(
            peer=self._settings.name,
            round=0,
            weight=self._settings.node_weightage,
            status=status,
            steps=(weights.batches if status.finished else weights.captured_at) - weights.merged_up_to,
            loss=self._reporter.evaluation.loss if self._reporter.evaluation else None,
        )

    def _settle(self, engine: Engine, weights: Weights, answer: Synced) -> RoundReport:
        """Validate, report, and count anew, from the last offer."""
        self._timing.end()
        if answer.model is not None and self._validates and not answer.idle:
            weights.show(answer.model, self._reporter.validate)
        if engine.commit:
            self._interval = engine.commit.sync.interval
        self.batches_left = self._interval - (weights.batches - self._offered_at)
        self.over = self.over or answer.closing or answer.answer is Answer.ENDED
        return self._reporter.settled(engine, answer, self._timing)

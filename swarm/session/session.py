"""The hook sequence that every framework integration wraps: begin, advance, epoch_end, end.

All of it runs on the training thread. Between sync points it only counts batches.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from swarm.callers import users_place
from swarm.clock import duration
from swarm.config import Settings
from swarm.errors import ConfigurationError, SwarmError
from swarm.logs import configure_from_environment
from swarm.outer import OuterStep, outer_optimizer
from swarm.peer.progress import Progress
from swarm.peer.status import TrainingStatus
from swarm.plugins import PluginRegistry
from swarm.records import Commit, Resumed, RoundReport
from swarm.report import RECORDER, Recorder
from swarm.session.across import Across
from swarm.session.batches import NEVER
from swarm.session.ending import PATIENCE, Ending
from swarm.session.expected import Expected
from swarm.session.following import Signals
from swarm.session.merging import Merging
from swarm.session.naming import Naming, resumed_name
from swarm.session.note import SessionNote
from swarm.session.participation import attended_by
from swarm.session.platform import Platform
from swarm.session.reporting import Reporter
from swarm.session.resuming import SiteTraining
from swarm.session.starting import Start, doubt_from, resumed_from, say_where
from swarm.session.validation import Validation
from swarm.session.wiring import Network, build_engine, network_of, owner_of, verifier_of
from swarm.storage.checkpoints import Checkpoints
from swarm.storage.stop_request import StopRequest
from swarm.storage.writer import Writer
from swarm.tensors.state import ModelState, Schema

if TYPE_CHECKING:
    from pathlib import Path

    from swarm.peer.engine import Engine
    from swarm.session.shards import SiteShards
    from swarm.storage.ledger import Ledger
    from swarm.sync import SyncPolicy
    from swarm.tensors.model import Correction, Evaluator, LearningRate, ModelPort
    from swarm.tensors.training import TrainingState

NetworkFactory = Callable[[Settings, PluginRegistry], Network]


class Session:
    """One training run of one peer, from joining the swarm to its closing model."""

    def __init__(
        self,
        settings: Settings,
        port: ModelPort,
        *,
        evaluate: Evaluator | None = None,
        learning_rate: LearningRate | None = None,
        correction: Correction | None = None,
        training: TrainingState | None = None,
        logger: logging.Logger | None = None,
        plugins: PluginRegistry | None = None,
        network: NetworkFactory = network_of,
        platform: Platform | None = None,
        shards: SiteShards | None = None,
    ) -> None:
        """Nothing is opened before ``begin``.

        Args:
            settings: resolved settings of this peer.
            port: the model.
            evaluate: validates the merged model after every merge.
            learning_rate: of the training, for a sync policy that follows it.
            correction: changes the gradients of the training, where a setting asks for that and the framework can.
            training: the state of optimizers and schedules, which its checkpoints have.
            logger: where the session reports; ``swarm`` by default.
            plugins: those of this session; the installed ones by default.
            network: makes the transport and the discoveries.
            platform: what the session takes from the computer; this one by default.
            shards: where each process of this site exchanges its own shard, and ``port`` is that of this process.
        """
        self._settings = settings
        self._expected = Expected(settings, None)
        self._port = port
        self._log = logger or logging.getLogger("swarm")
        self._network = network
        self._plugins = plugins or PluginRegistry(settings.disabled_plugins)
        self._platform = platform or Platform()
        self._executor = self._platform.executor
        self._progress = Progress(settings.total_epochs, self._executor)
        self._training = TrainingStatus(progress=self._progress)
        self._site = SiteTraining(training, self._progress, self._log)
        self._validation = Validation(settings, evaluate, self._log)
        self._reporter = Reporter(
            settings.model_name,
            validation=self._validation,
            training=self._training,
            plugins=self._plugins,
            logger=self._log,
            keeps_statistics=settings.normalization != "pooled",
            across=Across(shares=settings.share_metrics),
        )
        self._signals = Signals(self._validation, self._training, self._executor, learning_rate)
        self._correction = correction
        self._shards = shards
        self._ending = Ending(settings, port, self._reporter, self._log, shards.writer if shards else Writer)
        self._engine: Engine | None = None
        self._merging: Merging | None = None
        self._checkpoints: Checkpoints | None = None
        self._ledger: Ledger | None = None
        self._restore_signals: Callable[[], None] = lambda: None
        self._left = self._stopped = self._all_done = False
        self._naming = Naming(settings)
        self._note = SessionNote(settings, self._progress)
        self.uncounted: Callable[[], int] = lambda: 0
        """Batches that the callback has counted and not told of yet; for the status, on any thread."""
        self._training.batches_left = self._batches_to_merge

    @property
    def over(self) -> bool:
        """Whether the session is closed, or this peer is no longer part of it."""
        return self._left or (self._merging is not None and self._merging.over)

    @property
    def all_done(self) -> bool:
        """With ``train_until="all"``: whether this peer has trained its own epochs, and no peer needs more.

        Batches that are trained nevertheless are merged when training ends.
        """
        return self._all_done or (self._merging is not None and self._merging.all_done)

    @property
    def should_stop(self) -> bool:
        """Whether the swarm has agreed that training ends: most sites ask for it, or its models get no better.

        All peers learn it with the same round.
        """
        return self._stopped or (self._merging is not None and self._merging.should_stop)

    @property
    def batches_left(self) -> int:
        """Local batches until ``advance`` has something to do: 1 while a round overlaps with the training."""
        return self._merging.batches_left if self._merging else NEVER

    @property
    def round_running(self) -> bool:
        """With ``overlap``: whether the round that the last sync point started is still running."""
        return self._merging is not None and self._merging.round_running

    @property
    def round_open(self) -> bool:
        """With ``overlap``: whether the model of the round that the last sync point started is not loaded yet."""
        return self._merging is not None and self._merging.round_open

    @property
    def result(self) -> Path | None:
        """The file of the model that this peer ended with; None before that, and without a model directory."""
        return self._ending.result

    @property
    def resumed(self) -> Resumed:
        """How much of its training this peer had done when the checkpoint was written that it resumes from."""
        return self._site.resumed

    @property
    def swarm_batches(self) -> int:
        """Batches that a peer had trained when this one began, if it was there from the start; 0 at the start."""
        return self._site.swarm_batches

    @property
    def commit(self) -> Commit | None:
        """The last committed round applied here."""
        return self._engine.commit if self._engine else None

    @property
    def round(self) -> int | None:
        """The number of that round; None before the first."""
        return self.commit.round if self.commit else None

    @property
    def reference(self) -> ModelState | None:
        """The model of that round, which is never changed; None before the first and after the end."""
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
            if self._engine:
                self._validation.validate_merged(self._engine.commit.digest if self._engine.commit else "")
                self._validation.require_monitored()
        except BaseException as error:
            # A sentence for whoever reads the log. Without a handler, Python would print that above the traceback.
            if isinstance(error, SwarmError) and self._log.hasHandlers():
                self._log.error("%s%s", error, users_place())
                error.told = True
            self.abort("the start failed")
            raise
        if self._engine:
            self._reporter.started(self._settings.name, self._engine.commit)
        self._progress.begin()

    def advance(
        self, batches: int = 1, *, at_boundary: bool = True, loss: float | None = None, averaged: bool = False
    ) -> RoundReport | None:
        """Count local batches; at the first boundary at or after the last batch of the interval, merge.

        With ``overlap``, it only starts the round there. The merged model is loaded at the first boundary after the
        round has ended; at the next sync point, ``advance`` waits for it.

        Args:
            batches: batches since the last call.
            at_boundary: whether no gradient is pending, so that weights may change.
            loss: training loss of the last batch, for the live display, and for a warning if merges make it much worse.
            averaged: whether that is a mean over earlier batches too, which is for the display only.

        Returns:
            The report of a sync point that is over, or None.
        """
        merging = self._merging
        if merging is None:
            return None
        merging.batches.done += batches
        if not at_boundary or self.over or not merging.due:
            return None
        self._training.loss = loss
        self._signals.require_loss()
        return merging.advance(None if averaged else loss)

    def epoch_end(self, epoch: int) -> None:
        """Note the end of epoch ``epoch``, counted from 0, for progress."""
        self._progress.epoch_ended(epoch)
        self._site.epoch_ended(self._merging.batches.done if self._merging else 0)
        left = self._progress.seconds_left()
        self._log.debug("epoch %s done%s", str(self._progress), "" if left is None else f", ETA {duration(left)}")

    def extend(self) -> bool:
        """The peer's own epochs are over: whether to train another one, because other peers still train theirs.

        Call it again after each further epoch. No gradient may be pending, as this can be a sync point. Always False
        with ``train_until="own"``.
        """
        merging = self._merging
        return merging is not None and self._settings.train_until == "all" and not self.over and merging.extend()

    def end(self) -> None:
        """Merge the last batches, serve the others until all are done, and load the closing model.

        Raises:
            IncompleteSwarmError: ``require_members`` is set and a site is missing. All is written and loaded by then.
        """
        engine, merging = self._engine, self._merging
        if engine is None or merging is None:
            self._left = True
            own = self._ending.trained(self._port.schema())
            try:
                self._ending.conclude(None, own, None, reason="it trained alone")
            finally:
                self._ending.unlock()
            return
        try:
            merging.finish_pending()
            merging.loss_change.judge()
            merging.spare()
            own = self._ending.trained(merging.schema)
            merging.merge_rest(own)
            closing, reason = bool(engine.commit and engine.commit.closing), "the session was over before"
            if not merging.over:
                answer = merging.serve(own)
                closing, reason = answer.closing, answer.reason
            elif closing and engine.reference:
                merging.load(engine.reference)
        except BaseException:
            self.abort("it was interrupted before the closing round")
            raise
        self._left = True
        shared = engine.reference if closing else None
        best = engine.best() if self._settings.keep_best else None
        try:
            engine.close("training is over", linger=2 * self._settings.failure_timeout)
            attended = attended_by(
                self._ledger, engine.commit, self._reporter.steps, PATIENCE, self._log, self._expected
            )
            self._release(patience=PATIENCE)
            self._ending.conclude(
                engine.commit,
                own,
                shared,
                best=best,
                reason=reason,
                unmerged=merging.batches.unmerged,
                attended=attended,
            )
        finally:
            self._ending.unlock()
        self._note.ended(engine, result=self.result, closing=closing, reason=reason)
        self._ending.require_members(engine.commit, "" if closing else reason, attended, self._expected)

    def abort(self, reason: str, *, unintended: bool = False) -> None:
        """Leave at once, and tell the others; idempotent, never raises. The others warn if this is ``unintended``."""
        engine = self._engine
        self._left = True
        if engine is None:
            self._note.ended(None, result=None, closing=False, reason=reason)
            self._release(patience=3.0)
            self._ending.unlock()
            return
        if engine.stopping:
            return  # the caller that stopped it may still be writing the results
        try:
            engine.close(reason, linger=0.0, unintended=unintended)
            self._note.ended(engine, result=None, closing=False, reason=reason)
            self._release(patience=3.0)
            self._ending.wait(patience=3.0)
            self._reporter.closed(reason=reason, commit=engine.commit, directory=self._ending.directory)
        except Exception:  # noqa: BLE001  (the caller is on its way out, often because of another error)
            self._log.exception("leaving failed")
        finally:
            self._ending.unlock()

    def _release(self, *, patience: float) -> None:
        """Release what the worker does not own, and wait for the disk for at most ``patience`` seconds."""
        self._restore_signals()
        self._stopped, self._all_done = self.should_stop, self.all_done
        self._merging = None
        if self._correction:
            self._correction.stop()
        deadline = self._executor.now() + patience
        if self._checkpoints:
            self._checkpoints.close(timeout=patience)
        if self._ledger:
            self._ledger.close(timeout=max(deadline - self._executor.now(), 0.0))

    def status(self) -> dict[str, Any]:
        """What ``swarm status`` shows of this peer, in JSON types; empty if it trains alone."""
        return self._engine.status() if self._engine else {}

    def _batches_to_merge(self) -> int | None:
        return self._merging.batches_to_merge(self.uncounted()) if self._merging else None

    def metrics(self) -> dict[str, float]:
        """Metrics of the swarm so far; their names start with ``swarm_``."""
        return self._reporter.metrics(self._engine)

    # Joining ---------------------------------------------------------------------------------------------------------

    def _join(self) -> None:
        settings = self._settings
        settings.require_swarm()
        if settings.corrects and self._correction is None:
            raise ConfigurationError(
                f"{settings.corrects} changes the gradients of the training, which the callback of this framework "
                "cannot: leave it out at every peer"
            )
        if settings.loopback:
            self._ending.open(settings.name)
            if settings.peers or settings.rendezvous or (settings.world_size or 1) > 1:
                text = "loopback: %s trains alone, although it was started with other peers: leave loopback out"
                self._log.warning(text, settings.name)
            else:
                self._log.info("loopback: %s trains alone", settings.name)
            return
        self._note.began()
        schema = self._port.schema()
        settings = self._settings = self._signals.chosen(replace(settings, name=resumed_name(settings)))
        if settings.model_dir and RECORDER not in settings.disabled_plugins:
            recorder = Recorder(settings, self._log, validates=self._validation.possible)
            self._plugins.add(RECORDER, recorder)
        policy = self._signals.policy(self._settings, self._plugins, self._log)
        while not self._meet(schema, policy):
            pass  # another peer has the default name: try again with a number
        self._ending.open(self._settings.name)
        self._note.joined()

    def _meet(self, schema: Schema, policy: SyncPolicy) -> bool:
        """Join under the name in the settings; False if another peer has it and this one has chosen another."""
        settings = self._settings
        network = self._network(self._shards.of_process(settings) if self._shards else settings, self._plugins)
        expected = self._expected = Expected(settings, network.transport.identity)
        self._reporter.expect(expected)
        owner = owner_of(settings, network.transport.identity, self._platform.signer(), self._shards)
        ledger = self._ledger = self._platform.ledger(settings, owner, self._executor, self._log)
        store = (self._shards.checkpoints if self._shards else self._platform.checkpoint_store)(settings)
        optimizer = outer_optimizer(settings)
        outer = OuterStep(optimizer, schema) if optimizer else None
        start = Start()
        if store and settings.resume:
            try:
                doubt = doubt_from(ledger, verifier_of(owner, network.transport.identity))
                committed = outer.schema if outer else schema
                start = resumed_from(
                    store, committed, self._port, self._log, doubt, self._site, settings.checkpoint_seconds
                )
            except BaseException:
                network.close()
                raise
        if store:
            every = settings.checkpoint_seconds
            self._checkpoints = Checkpoints(
                store, every=every, executor=self._executor, logger=self._log, ledger=ledger
            )
        engine = self._engine = build_engine(
            settings,
            self._plugins,
            schema,
            self._log,
            network,
            expected=expected,
            outer=outer,
            policy=policy,
            executor=self._executor,
            incarnation=self._platform.incarnation(),
            versions=self._platform.versions,
            training=self._training,
            checkpoints=self._checkpoints,
            ledger=ledger,
            owner=owner,
            name_patience=self._naming.patience,
            shards=self._shards,
        )
        say_where(settings, expected, engine, self._shards.whole if self._shards else schema, self._log)
        engine.start(start.commit, start.best)
        self._restore_signals = self._platform.on_sigterm(self.abort)
        merging = Merging(
            engine,
            self._port,
            schema,
            settings,
            expected=expected,
            reporter=self._reporter,
            validation=self._validation,
            executor=self._executor,
            checkpoints=self._checkpoints,
            training=self._site,
            logger=self._log,
            signals=self._signals,
            stop_request=StopRequest(place for place in (settings.model_dir, settings.rendezvous) if place),
            correction=self._correction,
        )
        if not merging.start(keep=start.keeps):
            self._rename(engine)
            return False
        self._merging = merging
        self._site.began(ledger, engine.commit)
        return True

    def _rename(self, engine: Engine) -> None:
        """Leave, and choose a name that no known peer has."""
        engine.close("its name is taken", linger=0.0)
        self._release(patience=3.0)
        taken = self._settings.name
        self._settings = replace(self._settings, name=self._naming.after(taken, engine.names))
        self._log.info("this peer is called %s, as the name %s is taken", self._settings.name, taken)

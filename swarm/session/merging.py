"""The training thread's side of rounds: offers the model to a round, and loads what the round commits."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from swarm.merge.side import statistics_distance
from swarm.peer.futures import Answer, AnswerKind
from swarm.records import Commit, ContributionStats, Outcome, PeerId, PeerStatus, RoundReport
from swarm.session.batches import NEVER, Batches
from swarm.session.loss_change import LossChange
from swarm.session.participation import absentees
from swarm.session.pending import Background, PendingAnswer, measured, odd_tensors
from swarm.session.reporting import Reporter, Timing
from swarm.session.starting import by_samples, failure
from swarm.session.weights import Weights
from swarm.tensors.capture import kept, replaced_state
from swarm.tensors.state import ModelState, Schema
from swarm.text import MAX_SHOWN, printable

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.executor import Executor
    from swarm.peer.engine import Engine
    from swarm.session.expected import Expected
    from swarm.session.following import Signals
    from swarm.session.resuming import SiteTraining
    from swarm.session.validation import Validation
    from swarm.storage.checkpoints import Checkpoints
    from swarm.storage.stop_request import StopRequest
    from swarm.tensors.model import Correction, ModelPort


class Merging:
    """Sync points of one peer that has joined a session. All methods run on the training thread."""

    def __init__(
        self,
        engine: Engine,
        port: ModelPort,
        schema: Schema,
        settings: Settings,
        *,
        expected: Expected,
        reporter: Reporter,
        validation: Validation,
        executor: Executor,
        checkpoints: Checkpoints | None,
        training: SiteTraining,
        logger: logging.Logger,
        signals: Signals,
        stop_request: StopRequest,
        correction: Correction | None = None,
    ) -> None:
        """Nothing is offered before ``start``.

        Args:
            engine: the peer's worker.
            port: the model.
            schema: of the model.
            settings: of the peer.
            expected: whom the session expects.
            reporter: reports rounds.
            validation: of merged models, and of this peer's own one.
            executor: tells the time, and runs what happens while the training goes on.
            checkpoints: store what this site keeps for itself.
            training: of this site, for the checkpoints.
            logger: where the start is reported.
            signals: what the peer tells of what the sync policy follows.
            stop_request: what the operator of this site may ask for.
            correction: changes the gradients of the training by what is committed.
        """
        self.over = False
        """Whether the session is over for this peer."""
        self.all_done = False
        """Whether a peer that has trained its own epochs need not train on for the others."""
        self.should_stop = False
        """Whether the swarm has agreed that training ends, as its models get no better, or as most sites ask for it."""
        self.batches = Batches()
        self.loss_change = LossChange(logger)
        self.schema = schema
        self._engine = engine
        self._port = port
        self._settings = settings
        self._expected = expected
        self._weight = settings.require_weight()
        self._reporter = reporter
        self._validation = validation
        self._executor = executor
        self._checkpoints = checkpoints
        self._training = training
        self._log = logger
        self._signals = signals
        self._weights = Weights(port, schema, self.batches, borrow=not settings.overlap, correction=correction)
        self._timing = Timing(engine.traffic, executor)
        self._status = PeerStatus.TRAINING
        self._extended_at = 0
        """Batches at the last call of ``extend``."""
        self._background: Background | None = None
        self._pending: PendingAnswer | None = None
        self._stop_request = stop_request
        self._asking: frozenset[PeerId] = frozenset()
        """Who has asked to end the training, as the log has named them."""
        self._told: dict[PeerId, int] = {}
        """The weights that the log has named."""

    @property
    def batches_left(self) -> int:
        """Local batches to the next call that does something."""
        return 1 if self._pending or self.loss_change.wanted else NEVER if self.all_done else self.batches.left

    def batches_to_merge(self, uncounted: int) -> int | None:
        """Local batches to the next sync point, ``uncounted`` of which are made; None where there is none to come."""
        interval = self.batches.interval
        if not self._goes_on() or self._status.finished or interval == NEVER:
            return None
        return min(max(self.batches.left - uncounted, 0), interval)

    @property
    def round_running(self) -> bool:
        """Whether a round overlaps with the training at the moment."""
        return self._pending is not None and not self._pending.ready

    @property
    def round_open(self) -> bool:
        """Whether a round overlaps with the training, or its model is not loaded yet."""
        return self._pending is not None

    @property
    def due(self) -> bool:
        """Whether ``advance`` is to be called at the next boundary."""
        return self._pending is not None or self.loss_change.wanted or self._sync_due

    @property
    def _sync_due(self) -> bool:
        return self.batches.left <= 0 and self._goes_on()

    def start(self, *, keep: bool) -> bool:
        """Wait for the first round, and load its model; False where another peer has this one's default name.

        ``keep`` tells whether the model holds the values that this site kept for itself in an earlier run. Otherwise
        those of the swarm are loaded too.

        Raises:
            SwarmError: the session did not start.
        """
        engine, weights = self._engine, self._weights
        capture = weights.take(keep=False)
        stats = measured(self._stats(PeerStatus.TRAINING), capture, engine.reference)
        if engine.commit:
            # A resumed peer has nothing new to contribute, and would only delay the others.
            stats = replace(stats, weight=0)
        odd = () if stats.finite else odd_tensors(capture)
        self._store_training()
        answer = engine.offer(capture, stats)
        weights.release(pending=engine.pending)
        if answer.model is not None and answer.commit is not None:
            weights.resumed = keep
            weights.load(answer.model, odd)
            if odd:
                self._log.warning("NaN or infinity here in %s; the weights of the swarm replace them", ", ".join(odd))
            self._reporter.began(answer.kind, answer.commit, replaced_state(capture, answer.model))
            self._say_missing(answer)
            self._say_samples(answer.commit)
            self.batches.interval, self.over = answer.commit.sync.interval, answer.closing
            self._note_stop(answer.commit)
            self._signals.goes_on(self.batches.done)
        elif answer.kind is AnswerKind.SKIPPED and engine.commit:
            self.batches.interval = engine.commit.sync.interval
            self._log.warning("resumed round %d alone: %s", engine.commit.round, answer.reason)
        elif engine.name_taken and not self._settings.named:
            return False
        else:
            raise failure(self._settings, engine, answer, ", ".join(odd))
        self._background = Background(self._executor) if self._settings.overlap else None
        return True

    def advance(self, loss: float | None = None) -> RoundReport | None:
        """The training is at a boundary, and this is ``due``: merge, or load the model of a round under way.

        ``loss`` is that of the last batch, if it is known.
        """
        self.loss_change.trained(loss)
        report = self._advance()
        if report is not None and report.outcome is Outcome.MERGED:
            self.loss_change.merged()
        return report

    def _advance(self) -> RoundReport | None:
        if self._background is None:
            return self._sync() if self._sync_due else None
        report = None
        if self._pending:
            if self.round_running and self.batches.left > 0:
                return None
            self._timing.halt()
            report = self._receive()
        if self._pending is None and self._sync_due:
            self._begin_sync()
        if self._pending:
            self._timing.go_on()
        return report

    def extend(self) -> bool:
        """The own epochs are over, or one more epoch is: whether to train another one.

        The first call is a sync point, because the others may have been waiting for this peer alone. So is a call after
        an epoch without batches, in which no sync point can be reached.
        """
        first = self._status is PeerStatus.TRAINING
        self._status = PeerStatus.EXTENDED
        if first or self.batches.done == self._extended_at:
            self.finish_pending()
            if self._goes_on():
                self._sync()
        self._extended_at = self.batches.done
        if first and self._goes_on():
            self._log.info("%s has trained its own epochs, and trains on until all peers have", self._settings.name)
        return self._goes_on() and not self.should_stop

    def _goes_on(self) -> bool:
        return not (self.over or self.all_done)

    def finish_pending(self) -> None:
        """Wait for the rounds that are under way while the training goes on."""
        while self._pending and not self.over:
            self._timing.halt()
            self._receive()
            self._timing.go_on()

    def spare(self) -> None:
        """Free the memory of captures, if none may still be merged."""
        if not (self._pending or self._engine.pending):
            self._weights.spare()

    def merge_rest(self, own: ModelState) -> None:
        """Merge the last batches, unless a round is skipped.

        Args:
            own: the model as it is now. It is offered first, so that no other memory is needed for a capture, unless an
                earlier one may still be merged. It does not change.
        """
        self._background = None  # no training goes on meanwhile
        as_it_is: ModelState | None = own
        while self.batches.unmerged and not self.over:
            if self._sync(as_it_is).outcome is Outcome.SKIPPED:
                break
            as_it_is = None
        self.spare()

    def serve(self, own: ModelState) -> Answer:
        """Take part in rounds without training, until the closing round or until no peers are left to go on with.

        Args:
            own: the model that the local training ended with.
        """
        status = self._status = PeerStatus(self._settings.checkin_model_on_train_end)
        self._log.info("%s has finished, serving as %s until all are done", self._settings.name, status)
        engine = self._engine
        while True:
            self._timing, self.batches.offered_at = Timing(engine.traffic, self._executor), self.batches.done
            answer = engine.offer(own, measured(self._stats(status), own, engine.reference))
            if answer.model is not None:
                self._weights.load(answer.model)
            if answer.commit and self._settings.name in answer.commit.contributors:
                self._weights.served(late=answer.kind is not AnswerKind.MERGED)
            if answer.closing or answer.model is None or answer.kind is AnswerKind.MERGED:
                self._settle(answer)
            if answer.closing or answer.model is None:
                return answer

    def load(self, closing: ModelState) -> None:
        """Load the closing model of a session that was over before this peer had finished."""
        self._weights.load(closing)

    def _sync(self, own: ModelState | None = None) -> RoundReport:
        """Offer the model, of which ``own`` is a copy if it is given, and wait until the sync point is over."""
        self._begin_sync(own)
        report = None
        while report is None:
            report = self._receive()
        return report

    def _begin_sync(self, own: ModelState | None = None) -> None:
        """A sync point begins: offer the model, or the previous capture if it may still be merged."""
        if self._validation.wants_own and self.batches.unmerged:
            self._validation.validate_own()
        self._timing = Timing(self._engine.traffic, self._executor)
        self._offer(keep=self._engine.pending, own=own)

    def _offer(self, *, keep: bool, own: ModelState | None = None) -> None:
        capture = self._weights.take(keep=keep, own=own)
        if self._checkpoints and (values := kept(capture)):
            self._checkpoints.keep(values)
        self._store_training()
        self.batches.offered_at = self.batches.done
        self._signals.stops(self.batches.done)
        stats = self._stats(self._status)
        try:
            self._pending = PendingAnswer(
                self._engine, capture, stats, self._executor, self._background, spends=capture is not own
            )
        except BaseException:
            # The offer stands, and the training may go on after an interrupt, as in a notebook.
            self._weights.release(pending=True)
            raise

    def _store_training(self) -> None:
        if self._checkpoints:
            self._training.keep(self._checkpoints, self.batches.done)

    def _receive(self) -> RoundReport | None:
        """Wait for the answer to an offer, and load its model; None after a new offer, if it was of another round."""
        pending = self._pending
        if pending is None:
            raise ValueError("nothing was offered")
        answer = pending.wait()
        self._pending = None
        self._note_done(answer)
        self._reporter.left_out(pending.odd)
        if answer.model is not None and pending.finite:
            self._reporter.compared(statistics_distance(self.schema, pending.capture.side, answer.model.side))
        self._weights.release(pending=self._engine.pending)
        if answer.model is not None:
            self._weights.take_over(pending, answer, answer.model)
            if answer.kind is AnswerKind.LATE and answer.commit and not answer.idle:
                self._reporter.rounds += 1
                self._log.info("round %d was decided after its sync point; it is merged in now", answer.commit.round)
            if answer.kind is not AnswerKind.MERGED and not answer.closing:
                self._offer(keep=False)
                return None
        return self._settle(answer)

    def _note_done(self, answer: Answer) -> None:
        """Whether training on is over: every peer has trained its own epochs, or no round with others is possible."""
        done = answer.alone or (answer.commit is not None and answer.commit.done)
        if self._status is PeerStatus.EXTENDED and done and not self.all_done:
            self.all_done = True
            why = "no round is possible" if answer.alone else "all peers have trained their own epochs"
            self._log.info("%s: %s trains no further", why, self._settings.name)

    def _note_stop(self, commit: Commit) -> None:
        """Whether training ends at all peers: more than half have asked for it, or the models get no better."""
        best, ended = commit.best, self.should_stop
        self.should_stop = ended or bool(commit.stop or (best and best.stop))
        if ended or not self.should_stop:
            return
        if commit.stop or best is None:
            self._log.info("more than half of the sites have asked for it: the training ends at all peers")
            return
        self._log.info(
            "no model was better than that of round %d (%s %.4g) for %d rounds: the training ends at all peers",
            best.round,
            self._settings.monitor,
            best.score,
            best.since,
        )

    def _note_asking(self, answer: Answer) -> None:
        """Log who has asked to end the training, while they are not enough."""
        asking = frozenset(stats.peer for stats in answer.offered if stats.stop)
        if answer.commit and not answer.commit.stop and asking - self._asking:
            text = "%s asked to end the training: it ends at all peers once more than half of the %d sites have"
            self._log.info(text, printable(", ".join(sorted(asking)), MAX_SHOWN), len(answer.commit.members))
        self._asking |= asking

    def _stats(self, status: PeerStatus) -> ContributionStats:
        """What this peer declares about its weights, without what must be computed from them."""
        batches = self.batches
        stats = ContributionStats(
            peer=self._settings.name,
            round=0,
            weight=self._weight,
            status=status,
            steps=(batches.done if status.finished else batches.captured_at) - batches.merged_up_to,
            signal=self._signals.value(),
            stop=(not status.finished and self._stop_request.asked) or None,
        )
        return self._validation.told(stats, self._engine.commit)

    def _say_missing(self, answer: Answer) -> None:
        """Warn where a session starts, or goes on, without some of those that are expected."""
        commit, expected = answer.commit, self._expected
        if commit is None or answer.kind is not AnswerKind.MERGED:
            return
        if missing := absentees(commit.group, expected.number, expected):
            text = "started without %s; who comes later joins, and require_members=True waits for all"
            if commit.round:
                text = "goes on without %s; who comes later joins"
            self._log.warning(text, printable(missing, MAX_SHOWN))

    def _say_samples(self, commit: Commit) -> None:
        """Log the weights of all peers where they are numbers of samples, and have changed."""
        if not self._settings.by_samples:
            return
        weights = self._engine.weights(commit.members)
        if weights != self._told:
            self._told = weights
            self._log.info("%s", by_samples(weights, self._engine.largest_share))

    def _settle(self, answer: Answer) -> RoundReport:
        """Validate and report; the interval to the next sync point runs from the last offer."""
        self._timing.end()
        if answer.model is not None and self._validation.possible and not answer.idle:
            digest = answer.commit.digest if answer.commit else ""
            self._weights.show(answer.model, partial(self._validation.validate_merged, digest))
        if self._engine.commit:
            self.batches.interval = self._engine.commit.sync.interval
            self._say_samples(self._engine.commit)
            self._note_asking(answer)
            self._note_stop(self._engine.commit)
        self.over = self.over or answer.closing or answer.kind is AnswerKind.ENDED
        self._signals.goes_on(self.batches.done)
        return self._reporter.settled(self._engine, answer, self._timing)

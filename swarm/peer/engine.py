"""The worker: one thread that owns the round machine and carries out what it asks for.

Transport threads and the training thread only put work into its queue, so nothing in here needs a lock but the little
that they read.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from swarm.consensus.effects import (
    Apply,
    Effect,
    End,
    Fail,
    Fetch,
    Heal,
    Notice,
    Send,
    Skip,
    StartExchange,
    StopExchange,
)
from swarm.consensus.machine import RoundMachine
from swarm.errors import ExchangeError, StartTimeoutError
from swarm.executor import Executor, Future, ThreadExecutor
from swarm.messages import Envelope, FetchRequest, Leave, PartialNorm, Proposal, StreamHeader
from swarm.peer.exchanger import Exchanger
from swarm.peer.futures import Answer, Futures, Pending, Synced
from swarm.peer.greeter import Greeter
from swarm.peer.healing import Fetcher
from swarm.peer.inbox import Inbox
from swarm.peer.models import Models
from swarm.peer.peers import Peers, Sender
from swarm.peer.status import Standing, TrainingStatus
from swarm.peer.worker import Worker
from swarm.records import Commit, ContributionStats, PeerId, PeerInfo, PeerStatus, RoundFailed, RoundStarted
from swarm.tensors.state import ModelState, Schema

if TYPE_CHECKING:
    from swarm.consensus.rules import RoundRules
    from swarm.discovery.base import Discovery
    from swarm.merge.base import MergeRule
    from swarm.peer.codings import Codings
    from swarm.plugins import PluginRegistry
    from swarm.storage.checkpoints import Checkpoints
    from swarm.tensors.capture import Capture
    from swarm.transport.base import Sink, Transport


class Engine:
    """One peer's worker in one session."""

    def __init__(
        self,
        *,
        me: PeerInfo,
        rules: RoundRules,
        rule: MergeRule,
        codings: Codings,
        transport: Transport,
        discoveries: Sequence[Discovery],
        plugins: PluginRegistry,
        schema: Schema,
        logger: logging.Logger,
        executor: Executor | None = None,
        training: TrainingStatus | None = None,
        checkpoints: Checkpoints | None = None,
        members: Collection[PeerId] = (),
        name_patience: float | None = None,
    ) -> None:
        """It listens from now on, and answers nobody before ``start``.

        Args:
            me: what this peer declares; its address is that of ``transport``.
            rules: how rounds are agreed on.
            rule: how weights are merged.
            codings: how weights travel.
            transport: reaches the other peers.
            discoveries: where addresses of peers come from.
            plugins: those of the session.
            schema: of the model.
            logger: where it reports.
            executor: runs it; threads by default.
            training: what the training thread tells ``swarm status``.
            checkpoints: takes committed models.
            members: names of the peers that are expected, as far as the settings give them.
            name_patience: seconds for which it asks for its name where others know a live peer of that name; None:
                long enough for an earlier process to count as lost.

        Raises:
            AddressError: the address cannot be listened on.
        """
        self._executor = executor or ThreadExecutor()
        self._transport = transport
        self._plugins = plugins
        self._log = logger
        self._checkpoints = checkpoints
        self._worker = Worker(f"swarm-{me.name}", executor=self._executor, logger=logger)
        inbox = Inbox(self._worker)
        self._me = replace(me, address=transport.start(inbox))
        self._machine = RoundMachine(me.name, me.incarnation, rules, self._executor.now())
        sender = Sender(self._me, transport)
        self._greeter = Greeter(
            me=self._me,
            schema=schema,
            discoveries=discoveries,
            plugins=plugins,
            logger=logger,
            send=sender.send,
            members=members,
        )
        self._roster = self._greeter.roster
        self._futures = Futures()
        self._attempts = 0
        self._models = Models()
        self._exchanger = Exchanger(
            me=self._me,
            schema=schema,
            rule=rule,
            codings=codings,
            transport=transport,
            roster=self._roster,
            executor=self._executor,
            timeout=rules.failure_timeout,
            logger=logger,
        )
        training = training or TrainingStatus()
        self._standing = Standing(self._machine, self._roster, self._exchanger, training, rules.first_sync)
        self._peers = Peers(
            me=self._me,
            machine=self._machine,
            greeter=self._greeter,
            exchanger=self._exchanger,
            sender=sender,
            plugins=plugins,
            clock=self._executor,
            timeout=rules.failure_timeout,
            logger=logger,
            name_patience=2 * rules.failure_timeout if name_patience is None else name_patience,
        )
        self._fetcher = Fetcher(
            me=self._me,
            schema=schema,
            transport=transport,
            roster=self._roster,
            timeout=rules.failure_timeout,
            logger=logger,
            executor=self._executor,
            post=self._worker.post,
        )
        self.stopping = False
        """Whether it was told to stop."""
        self.pending = False
        """Whether the last capture may still be merged, or was, after its sync point: it must not be taken anew."""
        inbox.open(self)

    # For the training thread -----------------------------------------------------------------------------------------

    def start(self, resumed: tuple[Commit, ModelState] | None = None) -> None:
        """Begin to look for peers and to answer them; ``resumed`` is the commit to go on from, with its model."""
        if resumed:
            commit, model = resumed
            self._models.commit(commit.digest, model)
            self._do(self._machine.resume(commit, self._executor.now()))
        self._worker.start(
            due=self._machine.deadline, tick=self._tick, housekeeping=self._housekeeping, failed=self._contain
        )

    @property
    def address(self) -> str:
        """Where others reach this peer."""
        return self._me.address

    @property
    def commit(self) -> Commit | None:
        """The last committed round applied here."""
        return self._machine.commit

    @property
    def reference(self) -> ModelState | None:
        """The model of that round; replaced, never changed."""
        return self._models.reference

    @property
    def met(self) -> frozenset[PeerId]:
        """Peers of the session that can be reached."""
        return self._machine.live

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes of weights sent and received in finished exchanges."""
        return self._exchanger.traffic

    @property
    def name_taken(self) -> bool:
        """Whether another peer has this one's name, and was there first."""
        return bool(self._greeter.name_taken)

    @property
    def names(self) -> frozenset[PeerId]:
        """Names of the session's peers, as far as they are known here."""
        return self._greeter.names

    @property
    def refusal(self) -> str:
        """Why a peer refused this one; empty if none did."""
        return self._greeter.refusal

    def offer(self, capture: Capture, stats: ContributionStats) -> Synced:
        """Offer a capture to the next round and wait for what comes of it.

        ``capture`` must not change until a later offer, or this one's answer unless ``pending`` then says otherwise.
        """
        future: Pending = Future(self._executor)

        def place() -> None:
            self._models.capture, self._attempts = capture, 0
            self._standing.checked_in = stats.status
            late = self._futures.place(future)
            if late:
                self._answer(late)
            elif self._greeter.name_taken:
                self._answer(Synced(answer=Answer.FAILED, reason=self._greeter.name_taken))
            else:
                self._offer(stats)

        self._worker.post(place)
        try:
            return self._wait(future)
        except BaseException:
            # Broken off, as by Ctrl-C in a notebook: what comes of it is for the next sync point.
            self._worker.post(lambda: self._abandon(future))
            raise

    def close(self, reason: str, *, linger: float, unintended: bool = False) -> None:
        """Tell the others and stop; idempotent. After the closing round, first answer those who still lack it.

        Args:
            reason: for the others' logs.
            linger: seconds to wait at most for the others to have the closing round.
            unintended: whether the others should warn of it.
        """
        if self.stopping:
            return
        self.stopping = True
        deadline = self._executor.now() + linger

        def leave() -> None:
            if self._machine.closed and not self._machine.farewelled and self._executor.now() < deadline:
                self._worker.post_later(0.02, leave)
                return
            self._peers.tell(self._machine.live, Leave(reason, unintended))
            self._worker.stop()

        self._worker.post(leave)
        self._worker.join(linger + 5.0)
        self._exchanger.close()
        self._greeter.withdraw()
        self._transport.close()
        self._models.clear()

    def _wait(self, future: Pending) -> Synced:
        """Wait for the worker's answer; the machine bounds the wait, this only notices a worker that died."""
        while True:
            answer = future.wait(timeout=1.0)
            if answer:
                return answer
            if not self._worker.alive:
                return Synced(answer=Answer.ENDED, reason="the worker has stopped")

    # The worker's thread ---------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._do(self._machine.tick(self._executor.now()))

    def _housekeeping(self) -> None:
        now = self._executor.now()
        self._greeter.dial(now, self._machine.commit)
        self._exchanger.check(now)

    def _contain(self, error: Exception) -> None:
        """Work failed half-way: whoever waits for it must not wait for ever."""
        answer = Answer.SKIPPED if self._machine.commit else Answer.FAILED
        if self._futures.awaited:
            self._answer(Synced(answer=answer, reason=f"an internal error: {type(error).__name__}: {error}"))

    def _offer(self, stats: ContributionStats) -> None:
        if self._machine.closed:
            self._answer(Synced(answer=Answer.HEALED, commit=self._machine.commit, model=self._models.reference))
            return
        stats = replace(stats, round=self._machine.round, residual=self._exchanger.residual)
        self._do(self._machine.offer(stats, self._executor.now()))

    def _answer(self, answer: Synced) -> None:
        if self._futures.awaited:
            self._greeter.joined = self._greeter.joined or answer.answer is not Answer.FAILED
            self.pending = self._may_commit()
            if not self.pending:
                self._models.capture = None
        self._futures.answer(answer)

    def _abandon(self, future: Pending) -> None:
        self._futures.abandon(future)
        self.pending = self._may_commit()

    # What other peers send -------------------------------------------------------------------------------------------

    def receive(self, envelope: Envelope) -> None:
        """Handle a message; on the worker's thread."""
        self._do(self._peers.receive(envelope))

    def lost(self, address: str, reason: str) -> None:
        """Nothing reaches ``address`` any more; on the worker's thread."""
        self._do(self._peers.lost(address, reason))

    def sink(self, header: StreamHeader) -> Sink:
        """Where an incoming stream of weights goes; on any thread.

        Raises:
            ExchangeError: this peer is in no such exchange.
        """
        return self._exchanger.sink(header)

    def requested(self, request: FetchRequest) -> ModelState:
        """The model with the requested digest, committed or undecided; on any thread.

        Raises:
            ExchangeError: the sender is not in the session, or the model is not here.
        """
        if request.session != self._me.session or self._roster.info(request.sender) is None:
            raise ExchangeError(f"{request.sender} is not in session {self._me.session} with {self._me.name}")
        return self._models.get(request.digest)

    def status(self) -> dict[str, Any]:
        """What ``swarm status`` shows, in JSON types; on any thread."""
        return self._standing.describe()

    # Effects ---------------------------------------------------------------------------------------------------------

    def _do(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._peers.tell((effect.to,), effect.message)
                case StartExchange():
                    self._start_exchange(effect.proposal)
                case StopExchange():
                    self._exchanger.stop(effect.key)
                case Apply():
                    self._apply(effect.commit)
                case Heal():
                    self._heal(effect)
                case Fetch():
                    self._fetch(effect)
                case Skip():
                    self._answer(Synced(answer=Answer.SKIPPED, reason=effect.reason, attempts=self._attempts))
                case End():
                    self._answer(Synced(answer=Answer.ENDED, reason=effect.reason))
                case Fail():
                    # Who is missing is of no interest where those who came are the reason.
                    missing = self._greeter.whereabouts(self._machine.live) if effect.error is StartTimeoutError else ""
                    self._answer(Synced(answer=Answer.FAILED, reason=effect.reason + missing, error=effect.error))
                case Notice():
                    self._notice(effect)
        needed = self._machine.needed
        self._exchanger.keep(needed)
        self._models.keep(needed)
        self.pending = self._may_commit()

    def _may_commit(self) -> bool:
        machine = self._machine
        return self._exchanger.running or machine.pending or bool(machine.needed) or self._futures.late

    def _notice(self, notice: Notice) -> None:
        # Before the first round a loud line says for whom the start waits.
        more = self._greeter.whereabouts(self._machine.live) if notice.loud and self._machine.commit is None else ""
        self._log.log(logging.WARNING if notice.loud or notice.failed else logging.INFO, "%s%s", notice.text, more)
        if notice.failed:
            event = RoundFailed(session=self._me.session, round=self._machine.round, reason=notice.text)
            self._plugins.round_failed(event)

    def _start_exchange(self, proposal: Proposal) -> None:
        key, models = proposal.key, self._models

        def assembled(digest: str, model: ModelState, norms: tuple[PartialNorm, ...]) -> None:
            models.add(digest, model)
            self._do(self._machine.exchanged(key, digest, norms, self._executor.now()))

        def failed(peer: PeerId, why: str) -> None:
            self._do(self._machine.exchange_failed(key, peer, why, self._executor.now()))

        entry = next(entry for entry in proposal.entries if entry.peer == self._me.name)
        own = models.reference if entry.status is PeerStatus.ACTIVE else models.capture
        parent = models.committed(proposal.parent)
        if own is None or (proposal.parent and parent is None):
            failed(
                self._me.name,
                "no weights at hand" if own is None else "the model that the round builds on is not here",
            )
            return
        self._attempts += 1
        self._plugins.round_started(
            RoundStarted(session=self._me.session, round=proposal.round, attempt=proposal.attempt, group=proposal.group)
        )
        self._exchanger.start(proposal, own, parent, self._worker.post, done=assembled, failed=failed)

    def _apply(self, commit: Commit) -> None:
        # Training goes on with its answer, and the capture may be the model itself. Where nobody waits it has done so.
        self._exchanger.carry(commit.digest, stands=self._futures.awaited)
        before, model = self._models.reference, self._models.get(commit.digest)
        self._replace(commit, model)
        if self._me.name in commit.group:
            self._answer(Synced(answer=Answer.MERGED, commit=commit, model=model, attempts=self._attempts))
        else:
            # It only voted, with a model that it fetched for that: its capture is in no commit.
            self._answer(Synced(answer=Answer.HEALED, commit=commit, model=model, before=before))

    def _heal(self, heal: Heal) -> None:
        commit = heal.commit

        def fetched(model: ModelState | None) -> None:
            if model is None:
                self._do(self._machine.heal_failed(commit, heal.sources, self._executor.now()))
                return
            # What it offered may be in a round it did not see decided: then those steps count as merged.
            capture, reference = self._models.capture, self._models.reference
            before = capture if self._machine.may_contain(commit) and capture else reference
            self._exchanger.healed()
            self._log.info("caught up with round %d from %s", commit.round, ", ".join(heal.sources))
            self._replace(commit, model)
            self._do(self._machine.healed(commit, self._executor.now()))
            self._answer(Synced(answer=Answer.HEALED, commit=commit, model=model, before=before))

        self._fetcher.fetch(commit.digest, heal.sources, fetched)

    def _fetch(self, fetch: Fetch) -> None:
        def fetched(model: ModelState | None) -> None:
            if model is not None:
                self._models.add(fetch.digest, model)
            self._do(self._machine.fetched(fetch.digest, self._executor.now(), success=model is not None))

        self._fetcher.fetch(fetch.digest, fetch.sources, fetched)

    def _replace(self, commit: Commit, model: ModelState) -> None:
        self._models.commit(commit.digest, model)
        if self._checkpoints:
            self._checkpoints.offer(commit, model)

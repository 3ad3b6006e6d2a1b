"""The worker: one thread that owns the round machine and carries out what it asks for.

Transport threads and the training thread only put work into its queue, so nothing in here needs a lock but the little
that they read.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from swarm.clock import Clock, MonotonicClock
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
from swarm.errors import StartTimeoutError
from swarm.messages import Envelope, Hello, Leave, Proposal, Refuse
from swarm.peer.exchanger import Exchanger
from swarm.peer.futures import Answer, Future, Futures, Synced
from swarm.peer.greeter import Greeter
from swarm.peer.healing import Fetcher
from swarm.peer.inbox import Inbox
from swarm.peer.models import Models
from swarm.peer.peers import Peers, SendQueue
from swarm.peer.status import Standing
from swarm.peer.worker import Worker
from swarm.records import (
    Commit,
    ContributionStats,
    PeerId,
    PeerInfo,
    RoundFailed,
    RoundStarted,
)
from swarm.tensors.state import ModelState, Schema

if TYPE_CHECKING:
    from swarm.consensus.rules import RoundRules
    from swarm.discovery.base import Discovery
    from swarm.merge.base import MergeRule
    from swarm.peer.codings import Codings
    from swarm.plugins import PluginRegistry
    from swarm.tensors.capture import Capture
    from swarm.transport.base import Transport


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
        clock: Clock | None = None,
        members: Collection[PeerId] = (),
        name_patience: float | None = None,
    ) -> None:
        self._clock = clock or MonotonicClock()
        self._transport = transport
        self._plugins = plugins
        self._log = logger
        self._worker = Worker(f"swarm-{me.name}", clock=self._clock, logger=logger)
        inbox = Inbox(self._worker)
        self._me = replace(me, address=transport.start(inbox))
        self._machine = RoundMachine(me.name, me.incarnation, rules, self._clock.now())
        send_queue = SendQueue(self._me, transport)
        self._greeter = Greeter(
            me=self._me,
            schema=schema,
            discoveries=discoveries,
            plugins=plugins,
            logger=logger,
            send=send_queue.send,
            members=members,
        )
        self._futures = Futures()
        self._attempts = 0
        self.exchanger = Exchanger(
            me=self._me,
            schema=schema,
            rule=rule,
            codings=codings,
            transport=transport,
            roster=self._greeter.roster,
            clock=self._clock,
            timeout=rules.failure_timeout,
            logger=logger,
        )
        self.standing = Standing(self._machine, self._greeter.roster, self.exchanger, rules.first_sync)
        self.peers = Peers(
            me=self._me,
            machine=self._machine,
            greeter=self._greeter,
            exchanger=self.exchanger,
            send_queue=send_queue,
            plugins=plugins,
            clock=self._clock,
            timeout=rules.failure_timeout,
            logger=logger,
            do=self._do,
            name_patience=2 * rules.failure_timeout if name_patience is None else name_patience,
        )
        fetcher = Fetcher(
            me=self._me,
            schema=schema,
            transport=transport,
            roster=self._greeter.roster,
            timeout=rules.failure_timeout,
            logger=logger,
            post=self._worker.post,
        )
        self.models = Models(
            me=self._me,
            machine=self._machine,
            exchanger=self.exchanger,
            fetcher=fetcher,
            roster=self._greeter.roster,
            logger=logger,
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
            commit, self.models.reference = resumed
            self._do(self._machine.resume(commit, self._clock.now()))
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
        return self.models.reference

    @property
    def met(self) -> frozenset[PeerId]:
        """Peers of the session that can be reached."""
        return self._machine.live

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
        future: Future = queue.SimpleQueue()

        def place() -> None:
            self.models.capture, self._attempts = capture, 0
            self.standing.checked_in = stats.status
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
        stopped = threading.Event()
        deadline = self._clock.now() + linger

        def leave() -> None:
            if self._machine.closed and not self._machine.farewelled and self._clock.now() < deadline:
                self._worker.post_later(0.02, leave)
                return
            self.peers.tell(self._machine.live, Leave(reason, unintended))
            self._worker.stop()
            stopped.set()

        self._worker.post(leave)
        while not stopped.wait(0.5) and self._worker.alive and self._clock.now() < deadline + 5.0:
            pass
        self.exchanger.close()
        self._greeter.withdraw()
        self._transport.close()
        self.models.forget()

    def _wait(self, future: Future) -> Synced:
        """Wait for the worker's answer; the machine bounds the wait, this only notices a worker that died."""
        while True:
            try:
                return future.get(timeout=1.0)
            except queue.Empty:
                if not self._worker.alive:
                    return Synced(answer=Answer.ENDED, reason="the worker has stopped")

    # The worker's thread ---------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._do(self._machine.tick(self._clock.now()))

    def _housekeeping(self) -> None:
        now = self._clock.now()
        self._greeter.dial(now, self._machine.commit)
        self.exchanger.check(now)

    def _contain(self, error: Exception) -> None:
        """Work failed half-way: whoever waits for it must not wait for ever."""
        answer = Answer.SKIPPED if self._machine.commit else Answer.FAILED
        if self._futures.awaited:
            self._answer(Synced(answer=answer, reason=f"an internal error: {type(error).__name__}: {error}"))

    def _offer(self, stats: ContributionStats) -> None:
        if self._machine.closed:
            self._answer(Synced(answer=Answer.HEALED, commit=self._machine.commit, model=self.models.reference))
            return
        stats = replace(stats, round=self._machine.round, residual=self.exchanger.residual)
        self._do(self._machine.offer(stats, self._clock.now()))

    def _answer(self, answer: Synced) -> None:
        if self._futures.awaited:
            self._greeter.joined = self._greeter.joined or answer.answer is not Answer.FAILED
            self.pending = self._may_commit()
            if not self.pending:
                self.models.capture = None
        self._futures.answer(answer)

    def _abandon(self, future: Future) -> None:
        self._futures.abandon(future)
        self.pending = self._may_commit()

    # Messages --------------------------------------------------------------------------------------------------------

    def receive(self, envelope: Envelope) -> None:
        message, roster, now = envelope.message, self._greeter.roster, self._clock.now()
        if isinstance(message, Hello):
            self.peers.greeted(envelope, message)
        elif envelope.session != self._me.session:
            self._log.debug("a stray message of session %s from %s", envelope.session, envelope.sender)
        elif isinstance(message, Refuse):
            self.peers.refused(envelope, message)
        elif not roster.is_live(envelope.sender, envelope.incarnation):
            self._greeter.greet(envelope.address, self._machine.commit, wants_reply=True)
        elif isinstance(message, Leave):
            self._transport.forget(envelope.address)
            self.peers.left(envelope.sender, message)
        else:
            self._do(self._machine.receive(envelope.sender, message, now))

    # Effects ---------------------------------------------------------------------------------------------------------

    def _do(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self.peers.tell((effect.to,), effect.message)
                case StartExchange():
                    self._start_exchange(effect.proposal)
                case StopExchange():
                    self.exchanger.stop(effect.key)
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
        self.exchanger.keep(self._machine.needed)
        self.pending = self._may_commit()

    def _may_commit(self) -> bool:
        machine = self._machine
        return self.exchanger.running or machine.pending or bool(machine.needed) or self._futures.late

    def _notice(self, notice: Notice) -> None:
        # Before the first round a loud line says for whom the start waits.
        more = self._greeter.whereabouts(self._machine.live) if notice.loud and self._machine.commit is None else ""
        self._log.log(logging.WARNING if notice.loud or notice.failed else logging.INFO, "%s%s", notice.text, more)
        if notice.failed:
            event = RoundFailed(session=self._me.session, round=self._machine.round, reason=notice.text)
            self._plugins.round_failed(event)

    def _start_exchange(self, proposal: Proposal) -> None:
        own, reference = self.models.contribution(proposal), self.models.parent(proposal)
        if own is None or (proposal.parent and reference is None):
            why = "no weights at hand" if own is None else "the model that the round builds on is not here"
            self._do(self._machine.exchange_failed(proposal.key, self._me.name, why, self._clock.now()))
            return
        self._attempts += 1
        event = RoundStarted(
            session=self._me.session, round=proposal.round, attempt=proposal.attempt, group=proposal.group
        )
        self._plugins.round_started(event)
        key = proposal.key

        def failed(peer: PeerId, why: str) -> None:
            self._do(self._machine.exchange_failed(key, peer, why, self._clock.now()))

        self.exchanger.start(
            proposal,
            own,
            reference,
            self._worker.post,
            done=lambda digest, norms: self._do(self._machine.exchanged(key, digest, norms, self._clock.now())),
            failed=failed,
        )

    def _apply(self, commit: Commit) -> None:
        # Training goes on with its answer, and the capture may be the model itself. Where nobody waits it has done so.
        self.exchanger.carry(commit.digest, stands=self._futures.awaited)
        self._answer(self.models.apply(commit, self._attempts))

    def _heal(self, heal: Heal) -> None:
        def done(answer: Synced | None) -> None:
            now = self._clock.now()
            if answer is None:
                self._do(self._machine.heal_failed(heal.commit, heal.sources, now))
                return
            self._do(self._machine.healed(heal.commit, now))
            self._answer(answer)

        self.models.heal(heal, done)

    def _fetch(self, fetch: Fetch) -> None:
        def done(here: bool) -> None:
            self._do(self._machine.fetched(fetch.digest, self._clock.now(), success=here))

        self.models.fetch(fetch, done)

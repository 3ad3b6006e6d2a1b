"""The worker: one thread that owns the round machine and carries out what it asks for.

Transport threads and the training thread only put work into its queue, so nothing in here needs a lock but the little
that they read.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from swarm.clock import Clock, MonotonicClock
from swarm.errors import ExchangeError
from swarm.messages import Envelope, FetchRequest, Hello, Leave, Message, Proposal, Refuse
from swarm.records import (
    Commit,
    ContributionStats,
    PeerId,
    PeerInfo,
    PeerLeft,
    PeerStatus,
    RoundFailed,
    RoundStarted,
)
from swarm.rounds.effects import Apply, Effect, End, Fail, Fetch, Heal, Notice, Send, Skip, StartExchange, StopExchange
from swarm.rounds.machine import RoundMachine
from swarm.session.door import Door
from swarm.session.exchanger import Exchanger
from swarm.session.greeter import Greeter, Met, TurnedAway
from swarm.session.healing import Fetcher
from swarm.session.status import Standing
from swarm.session.tickets import Answer, Synced
from swarm.session.worker import Worker
from swarm.state import ModelState, Schema

if TYPE_CHECKING:
    from swarm.membership.base import Membership
    from swarm.merge.base import MergeRule
    from swarm.plugins import PluginRegistry
    from swarm.rounds.rules import RoundRules
    from swarm.session.checkpoints import Checkpoints
    from swarm.session.codings import Codings
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
        memberships: Sequence[Membership],
        plugins: PluginRegistry,
        schema: Schema,
        logger: logging.Logger,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or MonotonicClock()
        self._rules = rules
        self._transport = transport
        self._plugins = plugins
        self._log = logger
        self._schema = schema
        self._worker = Worker(f"swarm-{me.name}", clock=self._clock, logger=logger)
        door = Door(self._worker)
        self._me = replace(me, address=transport.start(door))
        self._machine = RoundMachine(me.name, me.incarnation, rules, self._clock.now())
        self._greeter = Greeter(
            me=self._me, schema=schema, memberships=memberships, plugins=plugins, logger=logger, send=self._send
        )
        self._ticket: queue.SimpleQueue[Synced] | None = None
        self._capture: ModelState | None = None
        self._late: deque[Synced] = deque()
        self._attempts = 0
        self.exchanger = Exchanger(
            me=self._me,
            rule=rule,
            codings=codings,
            transport=transport,
            roster=self._greeter.roster,
            clock=self._clock,
            timeout=rules.failure_timeout,
            logger=logger,
        )
        self.standing = Standing(self._machine, self._greeter.roster, self.exchanger, rules.first_sync)
        self._fetcher = Fetcher(
            me=self._me,
            schema=schema,
            transport=transport,
            roster=self._greeter.roster,
            timeout=rules.failure_timeout,
            logger=logger,
            post=self._worker.post,
        )
        self.checkpoints: Checkpoints | None = None
        """Where committed models are kept on disk, if anywhere."""
        self.reference: ModelState | None = None
        """The model of the last committed round applied here; replaced, never changed."""
        self.stopping = False
        """Whether it was told to stop."""
        self.pending = False
        """Whether the last capture may still be merged, or was, after its sync point: it must not be taken anew."""
        door.open(self)

    # For the training thread -----------------------------------------------------------------------------------------

    def start(self, resumed: tuple[Commit, ModelState] | None = None) -> None:
        """Begin to look for peers and to answer them; ``resumed`` is the commit to go on from, with its model."""
        if resumed:
            commit, self.reference = resumed
            self._do(self._machine.resume(commit, self._clock.now()))
        self._worker.start(
            due=self._machine.deadline, tick=self._tick, keep_house=self._keep_house, failed=self._contain
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
    def met(self) -> frozenset[PeerId]:
        """Peers of the session that can be reached."""
        return self._machine.live

    @property
    def refusal(self) -> str:
        """Why a peer refused this one; empty if none did."""
        return self._greeter.refusal

    def offer(self, capture: ModelState, stats: ContributionStats) -> Synced:
        """Offer a capture to the next round and wait for what comes of it.

        ``capture`` must not change until a later offer, or this one's answer unless ``pending`` then says otherwise.
        """
        ticket: queue.SimpleQueue[Synced] = queue.SimpleQueue()

        def place() -> None:
            self._ticket, self._capture, self._attempts = ticket, capture, 0
            self.standing.checked_in = stats.status
            if self._late:
                self._answer(self._late.popleft())
            else:
                self._offer(stats)

        self._worker.post(place)
        return self._wait(ticket)

    def close(self, reason: str, *, linger: float) -> None:
        """Tell the others and stop; idempotent. After the closing round, first answer those who still lack it.

        Args:
            reason: for the others' logs.
            linger: seconds to wait at most for the others to have the closing round.
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
            self._tell(self._machine.live, Leave(reason))
            self._worker.stop()
            stopped.set()

        self._worker.post(leave)
        while not stopped.wait(0.5) and self._worker.alive and self._clock.now() < deadline + 5.0:
            pass
        self.exchanger.close()
        self._greeter.withdraw()
        self._transport.close()

    def _wait(self, ticket: queue.SimpleQueue[Synced]) -> Synced:
        """Wait for the worker's answer; the machine bounds the wait, this only notices a worker that died."""
        while True:
            try:
                return ticket.get(timeout=1.0)
            except queue.Empty:
                if not self._worker.alive:
                    return Synced(answer=Answer.ENDED, reason="the worker has stopped")

    # For others, on their threads ------------------------------------------------------------------------------------

    def model_for(self, request: FetchRequest) -> ModelState:
        """The model with the requested digest.

        Raises:
            ExchangeError: the sender is not in the session, or the model is not here.
        """
        if request.session != self._me.session or self._greeter.roster.info(request.sender) is None:
            raise ExchangeError(f"{request.sender} is not in session {self._me.session} with {self._me.name}")
        undecided, reference, commit = self.exchanger.assembled(request.digest), self.reference, self._machine.commit
        if undecided is not None:
            return undecided
        if reference is None or commit is None or commit.digest != request.digest:
            raise ExchangeError(f"{self._me.name} does not hold the model {request.digest}")
        return reference

    # The worker's thread ---------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._do(self._machine.tick(self._clock.now()))

    def _keep_house(self) -> None:
        now = self._clock.now()
        self._greeter.dial(now, self._machine.commit)
        self.exchanger.check(now)

    def _contain(self, error: Exception) -> None:
        """Work failed half-way: whoever waits for it must not wait for ever."""
        answer = Answer.SKIPPED if self._machine.commit else Answer.FAILED
        if self._ticket:
            self._answer(Synced(answer=answer, reason=f"an internal error: {type(error).__name__}: {error}"))

    def _offer(self, stats: ContributionStats) -> None:
        if self._machine.closed:
            self._answer(Synced(answer=Answer.HEALED, commit=self._machine.commit, model=self.reference))
            return
        self._do(self._machine.offer(replace(stats, round=self._machine.round), self._clock.now()))

    def _answer(self, answer: Synced) -> None:
        """Give the training thread what it waits for; keep a model that nobody waits for until its next sync point."""
        if self._ticket:
            self.pending = self._may_commit()
            self._ticket.put(answer)
            self._ticket = None
        elif answer.model is not None:
            late = Answer.LATE if answer.answer is Answer.MERGED else answer.answer
            self._late.append(replace(answer, answer=late))

    # Messages --------------------------------------------------------------------------------------------------------

    def _send(self, address: str, message: Message) -> None:
        me = self._me
        self._transport.send(address, Envelope(me.session, me.name, me.incarnation, me.address, message))

    def _tell(self, peers: Iterable[PeerId], message: Message) -> None:
        for peer in sorted(peers):
            info = self._greeter.roster.info(peer)
            if info:
                self._send(info.address, message)

    def receive(self, envelope: Envelope) -> None:
        message, greeter, now = envelope.message, self._greeter, self._clock.now()
        if isinstance(message, Hello):
            self._meet(greeter.greeted(envelope, message, self._machine.commit, now), message.commit)
        elif envelope.session != self._me.session:
            self._log.debug("a stray message of session %s from %s", envelope.session, envelope.sender)
        elif isinstance(message, Refuse):
            self._refused(envelope, message, now)
        elif not greeter.roster.is_live(envelope.sender, envelope.incarnation):
            greeter.greet(envelope.address, self._machine.commit, wants_reply=True)
        elif isinstance(message, Leave):
            greeter.roster.leave(envelope.sender)
            self._transport.forget(envelope.address)
            self._gone(envelope.sender, message.reason, polite=True)
        else:
            self._do(self._machine.receive(envelope.sender, message, now))

    def _meet(self, meeting: Met | TurnedAway | None, commit: Commit | None) -> None:
        if isinstance(meeting, Met):
            self.exchanger.met(meeting.peer)
            info = self._greeter.roster.info(meeting.peer)
            weightage = info.weightage if info else None
            self._do(self._machine.peer_up(meeting.peer, commit, self._clock.now(), weightage=weightage))
        elif meeting is not None:
            self._do(self._machine.peer_refused(meeting.peer, self._clock.now()))

    def _refused(self, envelope: Envelope, refusal: Refuse, now: float) -> None:
        meeting = self._greeter.refused(envelope, refusal, now, 2 * self._rules.failure_timeout)
        peer = self._greeter.roster.lose(envelope.address)
        if peer:
            self._gone(peer, refusal.reason, polite=False)
        if self._machine.commit is None:
            self._meet(meeting, None)

    def lost(self, address: str, reason: str) -> None:
        peer = self._greeter.roster.lose(address)
        if peer:
            self._gone(peer, reason, polite=False)
        else:
            self._greeter.unanswered(address, reason)

    def _gone(self, peer: PeerId, reason: str, *, polite: bool) -> None:
        if not self._machine.closed:
            self._log.log(
                logging.INFO if polite else logging.WARNING,
                "%s %s (%s); peers that remain: %d",
                peer,
                "left" if polite else "is gone",
                reason,
                len(self._greeter.roster.live()) + 1,
            )
        self._plugins.peer_left(PeerLeft(session=self._me.session, peer=peer, reason=reason, polite=polite))
        self._do(self._machine.peer_down(peer, self._clock.now()))

    # Effects ---------------------------------------------------------------------------------------------------------

    def _do(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._tell((effect.to,), effect.message)
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
                    silent = ", ".join(self._greeter.silent)
                    reason = f"{effect.reason}; no answer from {silent}" if silent else effect.reason
                    self._answer(Synced(answer=Answer.FAILED, reason=reason))
                case Notice():
                    self._notice(effect)
        self.exchanger.keep(self._machine.needed)
        self.pending = self._may_commit()

    def _may_commit(self) -> bool:
        machine = self._machine
        return self.exchanger.running or machine.pending or bool(machine.needed) or bool(self._late)

    def _notice(self, notice: Notice) -> None:
        self._log.log(logging.WARNING if notice.loud or notice.failed else logging.INFO, "%s", notice.text)
        if notice.failed:
            event = RoundFailed(session=self._me.session, round=self._machine.round, reason=notice.text)
            self._plugins.round_failed(event)

    def _start_exchange(self, proposal: Proposal) -> None:
        own, reference = self._contribution(proposal), self._parent(proposal)
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
            done=lambda digest: self._do(self._machine.exchanged(key, digest, self._clock.now())),
            failed=failed,
        )

    def _contribution(self, proposal: Proposal) -> ModelState | None:
        entry = next(entry for entry in proposal.entries if entry.peer == self._me.name)
        if entry.status is PeerStatus.ACTIVE:
            return self.reference
        return self._capture

    def _parent(self, proposal: Proposal) -> ModelState | None:
        commit = self._machine.commit
        return self.reference if commit and commit.digest == proposal.parent else None

    def _apply(self, commit: Commit) -> None:
        before, model = self.reference, self.exchanger.committed(commit.digest)
        self.reference = model
        self._checkpoint(commit, model)
        if self._me.name in commit.group:
            self._answer(Synced(answer=Answer.MERGED, commit=commit, model=model, attempts=self._attempts))
        else:
            # It only voted, with a model that it fetched for that: its capture is in no commit.
            self._answer(Synced(answer=Answer.HEALED, commit=commit, model=model, before=before))

    def _heal(self, heal: Heal) -> None:
        """Catch up with a committed round."""
        commit, names = heal.commit, ", ".join(heal.sources)

        def fetched(model: ModelState | None) -> None:
            now = self._clock.now()
            if model is None:
                self._do(self._machine.heal_failed(commit, heal.sources, now))
                return
            # What it offered may be in a round it did not see decided: then those steps count as merged.
            before = self._capture if self._machine.exposed and self._capture else self.reference
            self.reference = model
            self.exchanger.healed()
            self._log.info("caught up with round %d from %s", commit.round, names)
            self._checkpoint(commit, model)
            self._do(self._machine.healed(commit, now))
            self._answer(Synced(answer=Answer.HEALED, commit=commit, model=model, before=before))

        self._fetcher.fetch(commit.digest, heal.sources, fetched)

    def _fetch(self, fetch: Fetch) -> None:
        """Get a model that others hold and that is not decided yet."""

        def fetched(model: ModelState | None) -> None:
            if model is not None:
                self.exchanger.add(fetch.digest, model)
            self._do(self._machine.fetched(fetch.digest, self._clock.now(), success=model is not None))

        self._fetcher.fetch(fetch.digest, fetch.sources, fetched)

    def _checkpoint(self, commit: Commit, model: ModelState) -> None:
        if self.checkpoints:
            self.checkpoints.offer(commit, model)

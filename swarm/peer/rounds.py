"""Carries out the effects of the state machine: exchanges, commits, fetches, and answers to the training thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from swarm.certification.chain import conflict
from swarm.certification.statements import record_hash
from swarm.consensus.effects import (
    Apply,
    Effect,
    End,
    Fail,
    Fetch,
    Heal,
    Notice,
    Proven,
    Send,
    Skip,
    StartExchange,
    StopExchange,
)
from swarm.errors import StartTimeoutError
from swarm.peer.futures import NO_WAIT, Answer, AnswerKind, Futures, Wait
from swarm.peer.models import Models, way
from swarm.records import (
    Commit,
    ContributionStats,
    PeerId,
    PeerInfo,
    PeerStatus,
    Proof,
    RoundFailed,
    RoundStarted,
)
from swarm.tensors.state import ModelState
from swarm.text import MAX_LINE, printable

if TYPE_CHECKING:
    from swarm.consensus.machine import RoundMachine
    from swarm.consensus.norms import FrozenNorms
    from swarm.executor import Executor, Future, Work
    from swarm.messages import PartialNorm, Proposal
    from swarm.peer.exchanger import Exchanger
    from swarm.peer.fetching import Fetcher
    from swarm.peer.greeter import Greeter
    from swarm.peer.limited_log import LimitedLog
    from swarm.peer.peers import Peers
    from swarm.peer.recent import Recent
    from swarm.plugins import PluginRegistry
    from swarm.storage.checkpoints import Checkpoints
    from swarm.storage.ledger import Ledger
    from swarm.tensors.capture import Capture

MOST_COMPARED = 64
"""Own records that are compared with those of a peer that this one catches up with."""
MOST_ABORTS = 10
"""Lines in a minute about attempts that one leader has aborted; the report of a round has the last reason too."""


class Rounds:
    """One peer's rounds, on the worker's thread."""

    def __init__(
        self,
        *,
        me: PeerInfo,
        machine: RoundMachine,
        peers: Peers,
        greeter: Greeter,
        exchanger: Exchanger,
        fetcher: Fetcher,
        plugins: PluginRegistry,
        checkpoints: Checkpoints | None,
        ledger: Ledger,
        frozen: FrozenNorms,
        executor: Executor,
        post: Callable[[Work], None],
        logger: logging.Logger,
        limited: LimitedLog,
        recent: Recent,
        keeps_best: bool,
    ) -> None:
        """No round is running yet.

        Args:
            me: what this peer declares.
            machine: makes the decisions; its effects are carried out here, and it is told the outcome.
            peers: send messages.
            greeter: knows which peers the start waits for.
            exchanger: moves weights.
            fetcher: fetches models.
            plugins: are told of rounds.
            checkpoints: store committed models.
            ledger: keeps the records of committed rounds.
            frozen: is told how far committed models have moved.
            executor: tells the time.
            post: hands work to the worker's thread.
            logger: where it reports.
            limited: for lines about what other peers send.
            recent: keeps the last records and warnings for whoever asks for the status.
            keeps_best: whether the best model is kept.
        """
        self._keeps_best = keeps_best
        self._seeks_best = False
        """Whether the best model is being fetched, as it is not here."""
        self._best_awaited: Future[ModelState | None] | None = None
        self.models = Models()
        self.pending = False
        """Whether the last capture may still be merged, or was merged after its sync point: it must be kept."""
        self._me = me
        self._machine = machine
        self._peers = peers
        self._greeter = greeter
        self._exchanger = exchanger
        self._fetcher = fetcher
        self._plugins = plugins
        self._checkpoints = checkpoints
        self._ledger = ledger
        self._frozen = frozen
        self._executor = executor
        self._post = post
        self._log = logger
        self._limited = limited
        self._recent = recent
        self._futures = Futures()
        self._attempts = 0
        self._advised = False
        """Whether the advice about the port of this peer was logged."""
        self._offered_at = executor.now()
        self._wait = NO_WAIT
        """From the offer to the start of the last exchange."""

    def offer(self, capture: Capture, stats: ContributionStats, future: Future[Answer]) -> None:
        """Offer a capture to the next round; ``future`` gets its answer, or that of an earlier offer."""
        self.models.capture, self._attempts = capture, 0
        self._offered_at, self._wait = self._executor.now(), NO_WAIT
        late = self._futures.place(future)
        if late:
            self._answer(late)
        elif self._greeter.name_taken:
            self._answer(Answer(kind=AnswerKind.FAILED, reason=self._greeter.name_taken))
        elif self._machine.closed:
            self._answer(Answer(kind=AnswerKind.HEALED, commit=self._machine.commit, model=self.models.reference))
        else:
            stats = replace(stats, round=self._machine.round, residual=self._exchanger.residual)
            self.do(self._machine.offer(stats, self._executor.now()))

    def abandon(self, future: Future[Answer]) -> None:
        """The training thread no longer waits for ``future``."""
        self._futures.abandon(future)
        self.pending = self._may_commit()

    def contain(self, error: Exception) -> None:
        """Some work raised an error: answer the training thread, which may wait."""
        kind = AnswerKind.SKIPPED if self._machine.commit else AnswerKind.FAILED
        if self._futures.awaited:
            self._answer(Answer(kind=kind, reason=f"an internal error: {type(error).__name__}: {error}"))

    def do(self, effects: Iterable[Effect]) -> None:
        """Carry out effects of the state machine."""
        for effect in effects:
            match effect:
                case Send():
                    self._peers.tell((effect.to,), effect.message)
                case StartExchange():
                    self._start_exchange(effect.proposal)
                case StopExchange():
                    self._exchanger.stop(effect.key)
                case Apply():
                    self._apply(effect)
                case Heal():
                    self._heal(effect)
                case Fetch():
                    self._fetch(effect)
                case Skip():
                    self._skip(effect)
                case End():
                    self._answer(Answer(kind=AnswerKind.ENDED, reason=effect.reason))
                case Fail():
                    # Missing peers matter only if the start timed out.
                    missing = self._greeter.whereabouts(self._machine.live) if effect.error is StartTimeoutError else ""
                    self._answer(Answer(kind=AnswerKind.FAILED, reason=effect.reason + missing, error=effect.error))
                case Notice():
                    self._notice(effect)
                case Proven():
                    pass
        needed = self._machine.needed
        self._exchanger.keep(needed)
        self.models.keep(needed)
        self.pending = self._may_commit()

    def _answer(self, answer: Answer) -> None:
        if self._futures.awaited:
            self._greeter.joined = self._greeter.joined or answer.kind is not AnswerKind.FAILED
            self.pending = self._may_commit()
            if not self.pending:
                self.models.capture = None
        self._futures.answer(answer)

    def _skip(self, skip: Skip) -> None:
        wait = Wait(self._executor.now() - self._offered_at, skip.waited_for)
        kind, attempts = AnswerKind.SKIPPED, self._attempts
        self._answer(Answer(kind=kind, reason=skip.reason, alone=skip.alone, attempts=attempts, wait=wait))

    def _may_commit(self) -> bool:
        machine = self._machine
        return self._exchanger.running or machine.pending or bool(machine.needed) or self._futures.late

    def _notice(self, notice: Notice) -> None:
        # Before the first round, a warning names the peers that the start waits for.
        more = ""
        if notice.loud and self._machine.commit is None:
            more = self._greeter.whereabouts(self._machine.live)
            if not self._advised and (advice := self._greeter.port_advice):
                more, self._advised = more + advice, True
        level, text = logging.WARNING if notice.loud or notice.failed else logging.INFO, notice.text + more
        if notice.sender:
            kind, most = ("abort", MOST_ABORTS) if notice.failed else ("notice", 1)
            self._limited.log(level, notice.sender, kind, text, most=most)
        else:
            self._log.log(level, "%s", printable(text, MAX_LINE))
            if level == logging.WARNING:
                self._recent.warn(printable(text, MAX_LINE))
        if notice.failed:
            event = RoundFailed(session=self._me.session, round=self._machine.round, reason=notice.text)
            self._plugins.round_failed(event)

    def _start_exchange(self, proposal: Proposal) -> None:
        key, models = proposal.key, self.models

        def assembled(digest: str, model: ModelState, norms: tuple[PartialNorm, ...], slices: tuple[str, ...]) -> None:
            models.add(digest, model)
            self.do(self._machine.exchanged(key, digest, norms, self._executor.now(), slices=slices))

        def failed(peer: PeerId, why: str) -> None:
            self.do(self._machine.exchange_failed(key, peer, why, self._executor.now()))

        entry = next(entry for entry in proposal.entries if entry.peer == self._me.name)
        own = models.reference if entry.status is PeerStatus.ACTIVE else models.capture
        parent = models.committed(proposal.parent)
        if own is None or (proposal.parent and parent is None):
            why = "no weights at hand" if own is None else "the model that the round builds on is not here"
            self._post(lambda: failed(self._me.name, why))  # after the effects that are carried out now
            return
        self._attempts += 1
        self._wait = Wait(self._executor.now() - self._offered_at, self._machine.waited_for(proposal.group))
        self._plugins.round_started(
            RoundStarted(session=self._me.session, round=proposal.round, attempt=proposal.attempt, group=proposal.group)
        )
        self._exchanger.start(proposal, own, parent, self._post, done=assembled, failed=failed)

    def _apply(self, apply: Apply) -> None:
        commit = apply.commit
        self._ledger.append([commit])
        # The training continues with the answer, and the capture may be a view of the model. Without a waiting future,
        # it has already continued.
        self._exchanger.update_residual(commit.digest, stands=self._futures.awaited)
        before, committed = self.models.reference, self.models.get(commit.digest)
        model = committed.contributed()
        if commit.round == 0:
            self._frozen.founded()
        elif before:
            moved = way(before, model) if self._frozen.needs_way else None
            if not self._frozen.merged(apply.entries, moved):
                self._frozen.jumped(way(before, model) if moved is None else moved)
        self._replace(commit, committed)
        if self._me.name in commit.group:
            self._answer(
                Answer(
                    kind=AnswerKind.MERGED,
                    commit=commit,
                    model=model,
                    attempts=self._attempts,
                    wait=self._wait,
                    exchanged=self._executor.now() - self._offered_at - self._wait.seconds,
                    entries=apply.entries,
                    offered=apply.offered,
                )
            )
        else:
            # It only voted, and fetched the model for that: its capture is in no commit.
            self._answer(Answer(kind=AnswerKind.HEALED, commit=commit, model=model, before=before))

    def _heal(self, heal: Heal) -> None:
        wanted = heal.commit

        def fetched(found: tuple[list[Commit], ModelState] | None, untrue: Collection[PeerId]) -> None:
            if found is None:
                self.do(self._machine.heal_failed(wanted, heal.sources, self._executor.now(), untrue))
                return
            records, committed = found
            model = committed.contributed()
            commit = records[-1]  # whoever told of it may have changed its certificate
            for proof in self._conflicts(records):
                self.do(self._machine.prove(proof, self._executor.now()))
            # Its offer may be in a round whose decision it missed: then those steps count as merged.
            capture, reference = self.models.capture, self.models.reference
            before = capture if self._machine.may_contain(commit) and capture else reference
            if self._machine.may_contain_lost(commit):
                # Its steps may be in that model, and cannot be told from those that are not: none may count twice.
                before = None
                self._log.warning("steps since the last merge are given up: round %d may contain some", commit.round)
            self._exchanger.healed()
            if reference:
                self._frozen.jumped(way(reference, model))
            self._log.info("caught up with round %d from %s", commit.round, ", ".join(heal.sources))
            self._replace(commit, committed)
            self.do(self._machine.healed(commit, self._executor.now()))
            self._answer(Answer(kind=AnswerKind.HEALED, commit=commit, model=model, before=before))

        own = self._machine.commit
        self._fetcher.catch_up(wanted, heal.sources, record_hash(own) if own else "", fetched)

    def _conflicts(self, records: Iterable[Commit]) -> list[Proof]:
        """Proofs against voters who have signed these records and others of the same rounds, which this peer has."""
        own = self._machine.commit
        proofs: list[Proof] = []
        theirs = {(record.previous, record.lineage): record for record in records}
        for _ in range(MOST_COMPARED):
            if own is None:
                break
            before = self._ledger.get(own.previous) if own.previous else None
            other = theirs.get((own.previous, own.lineage))
            if other:
                proofs += conflict(own, other, before)
            own = before
        return proofs

    def _fetch(self, fetch: Fetch) -> None:
        def fetched(model: ModelState | None) -> None:
            if model is not None:
                self.models.add(fetch.digest, model)
            self.do(self._machine.fetched(fetch.digest, self._executor.now(), success=model is not None))

        self._fetcher.fetch(fetch.digest, fetch.sources, fetched)

    def resume(self, commit: Commit, model: ModelState, best: ModelState | None) -> None:
        """Go on from a commit of an earlier process, with its model, and the best one if that is known."""
        if best and commit.best:
            self.models.keep_best(commit.best.digest, best)
        self.models.commit(commit.digest, model, self._best_of(commit))
        self.do(self._machine.resume(commit, self._executor.now()))

    def best(self) -> ModelState | None:
        """The best model before the last commit, as it was committed; None where none is kept, or it is not here."""
        commit = self._machine.commit
        return self.models.best(self._best_of(commit)) if commit else None

    def tell_best(self, future: Future[ModelState | None]) -> None:
        """Give ``future`` the best model, once it is known whether it can be had; nothing if it is not here."""
        self._best_awaited = future
        found = self.best()
        if found or not self._seeks_best:
            self._best_awaited = None
            future.set(found.contributed() if found else None)

    def _seek_best(self, commit: Commit) -> None:
        """Fetch the best model before ``commit`` if it is not here, as after catching up; at each round until it is."""
        wanted = self._best_of(commit)
        if not wanted or self.models.has(wanted) or self._seeks_best:
            return
        self._seeks_best = True

        def fetched(model: ModelState | None) -> None:
            self._seeks_best = False
            newest = self._machine.commit
            if model and newest and self._best_of(newest) == wanted:
                self.models.keep_best(wanted, model)
            if self._best_awaited:
                self.tell_best(self._best_awaited)

        self._fetcher.fetch(wanted, [peer for peer in commit.group if peer in self._machine.live], fetched)

    def _best_of(self, commit: Commit) -> str:
        """The digest of the model to keep as the best one; empty if there is none."""
        return commit.best.digest if self._keeps_best and commit.best else ""

    def _replace(self, commit: Commit, model: ModelState) -> None:
        self.models.commit(commit.digest, model, self._best_of(commit))
        self._recent.commit(commit)
        self._seek_best(commit)
        if self._checkpoints:
            self._checkpoints.offer(commit, model, self.best())

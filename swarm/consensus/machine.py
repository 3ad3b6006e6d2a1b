"""One peer's state machine for rounds: takes inputs with the time of their arrival, returns effects.

It does no I/O, has no threads and reads no clock, so the same code runs in production, in tests and under simulation.

A round commits when more than half of the membership has accepted one result that every member of the group holds.
Until then no peer applies anything, so a round either gives the whole group one model or changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection

from swarm.certification.chain import conflict
from swarm.certification.statements import record_hash
from swarm.consensus.catchup import CatchUp, lineage_began
from swarm.consensus.effects import Apply, Effect, Fail, Proven
from swarm.consensus.founding import Founding
from swarm.consensus.leader import Leadership
from swarm.consensus.member import Key, Member
from swarm.consensus.rules import RoundRules
from swarm.consensus.state import RoundState
from swarm.consensus.timing import Retransmission
from swarm.consensus.waiting import Waiting
from swarm.messages import (
    Abort,
    Accept,
    Accepted,
    Ask,
    Decide,
    Evidence,
    Failed,
    Farewell,
    Message,
    Nack,
    Offer,
    PartialNorm,
    Prepare,
    Promise,
    Proposal,
    Propose,
    Ready,
    Withdraw,
)
from swarm.records import Commit, ContributionStats, Credential, PeerId, Proof

RETRY = 1.0
"""Seconds after which a leader retransmits, and a peer its offer for the first time."""
LONGEST_RETRY = 8.0
"""Longest pause between retransmissions of an offer: while a straggler is waited for, each goes to every peer."""


class RoundMachine:
    """One peer in one session: offers, forms or joins groups, votes, commits, catches up."""

    def __init__(self, me: PeerId, incarnation: str, rules: RoundRules, now: float) -> None:
        state = self._state = RoundState(me, incarnation, rules, now)
        self._founding = Founding(state)
        self._leadership = Leadership(state, lambda digest: self._member.held(digest) is not None)
        self._member = Member(state, self._leadership)
        self._waiting = Waiting(state)
        self._catch_up = CatchUp(state, self._member)
        self._leader_retry = Retransmission(state.timer, RETRY, RETRY)
        self._offer_retry = Retransmission(state.timer, RETRY, LONGEST_RETRY)
        self._offered_to = self._leadership.awaited
        """The attempt awaited when the offer was last due."""
        self._before: Commit | None = None
        """The record that this peer had before its last one."""
        self._removed: frozenset[PeerId] = frozenset()
        """Members that counted as gone here when that was looked at last."""
        self._farewells: dict[PeerId, tuple[str, int]] = {}
        """Lineage and number of the closing round that a peer has; a farewell may come before that round is known."""

    # What others may ask ---------------------------------------------------------------------------------------------

    @property
    def commit(self) -> Commit | None:
        """The last committed round applied here."""
        return self._state.position.commit

    @property
    def round(self) -> int:
        """Number of the next round."""
        return self._state.position.round

    @property
    def closed(self) -> bool:
        """Whether the closing round is committed."""
        return self._state.position.closed

    @property
    def live(self) -> frozenset[PeerId]:
        """Peers of the session that can be reached, without this one."""
        return frozenset(self._state.presence.live)

    @property
    def left_out(self) -> frozenset[PeerId]:
        """Peers that this one leaves out for now, because attempts failed with them or because they are removed."""
        presence = self._state.presence
        return presence.strikes.excluded().union(presence.proven)

    @property
    def protocol(self) -> int:
        """The version of the protocol of the next round, as far as known here."""
        state = self._state
        return state.protocol(state.presence.here | set(self.commit.members if self.commit else ()))

    @property
    def offered(self) -> bool:
        """Whether an offer of this peer is waiting for a round."""
        return self._state.offers.mine is not None

    def waited_for(self, group: Collection[PeerId]) -> tuple[PeerId, ...]:
        """Whom this peer has been waiting for since it offered, where a round now begins with ``group``."""
        return self._waiting.kept_by(frozenset(group))

    @property
    def unoffered(self) -> frozenset[PeerId]:
        """Members, and peers that can be reached, that have not offered to the next round."""
        members = self.commit.members if self.commit else ()
        return self.live.union(members) - self._state.offers.current - {self._state.me}

    @property
    def healing(self) -> bool:
        """Whether a committed model that this peer lacks is being fetched."""
        return self._catch_up.healing

    @property
    def votes(self) -> bool:
        """Whether this process may vote in the next round."""
        return self._state.votes

    @property
    def pending(self) -> bool:
        """Whether an attempt that this peer has joined may still be decided: the capture it offered must be kept."""
        return self._member.attempt is not None or self._member.exposed

    def may_contain(self, commit: Commit) -> bool:
        """Whether ``commit``, or one before it that this peer has not seen, may contain what this peer offered.

        Then its steps count as merged. The record of a round says who contributed to it; of the rounds between that
        one and the offer nothing is known.
        """
        return self._member.exposed_to(commit)

    def may_contain_lost(self, commit: Commit) -> bool:
        """Whether it may contain unmerged steps whose capture is gone: this peer had gone over to another lineage.

        Not where it may contain the last offer, which has those steps too.
        """
        return not self._member.exposed_to(commit) and self._member.was_exposed_to(commit)

    @property
    def needed(self) -> frozenset[str]:
        """Digests of assembled models that may still be committed."""
        return self._member.digests

    @property
    def farewelled(self) -> bool:
        """Whether every live member of the closing round is known to have committed it."""
        commit = self.commit
        if commit is None:
            return False
        closing = commit.lineage, commit.round
        return all(self._farewells.get(peer) == closing for peer in {*commit.group} & self._state.presence.live)

    def deadline(self) -> float | None:
        """When ``tick`` is due if no other input comes first."""
        return self._state.timer.wake

    # Inputs ----------------------------------------------------------------------------------------------------------

    def offer(self, stats: ContributionStats, now: float) -> list[Effect]:
        """This peer is at a sync point, or at the start: ``stats`` describe its capture."""
        state = self._state
        position = state.position
        state.timer.advance(now)
        if not stats.status.finished:
            state.pace.training_until(now)
        votes = state.votes or position.commit is None
        mine = state.sign_offer(Offer(position.lineage, position.parent, votes, stats))
        state.offers.make(mine)
        state.effects.tell(state.presence.live, mine)
        self._waiting.begin()
        self._offer_retry.restart()
        return self._drive()

    def resume(self, commit: Commit, now: float) -> list[Effect]:
        """Go on from a commit of an earlier process, before any other input. What that process voted is not known."""
        self._state.timer.advance(now)
        self._enter(commit, settled=False, behind=True)
        return self._drive()

    def peer_up(
        self,
        peer: PeerId,
        commit: Commit | None,
        now: float,
        *,
        weight: int | None = None,
        newest: int = 0,
        credential: Credential | None = None,
    ) -> list[Effect]:
        """A peer of this session, with the same model and settings, can be reached.

        ``commit`` is the last one that it has, ``weight`` what it declared on joining, ``newest`` the newest version of
        the protocol that it speaks, ``credential`` that of the key with which it signs.
        """
        state, mine = self._state, self._state.offers.mine
        state.timer.advance(now)
        new = state.presence.up(peer, weight, credential)
        state.presence.newest[peer] = newest
        self._leadership.returned(peer)
        self._founding.welcome(peer)
        if new:
            self._waiting.peer_came()
            if mine:
                state.effects.send(peer, mine)
        # A known peer that greets again may have missed what was sent in between.
        self._offer_retry.hurry()
        if new:
            self._offer_again()
        if commit:
            self._see(peer, commit)
        return self._drive()

    def peer_down(self, peer: PeerId, now: float, *, revoked: bool = False) -> list[Effect]:
        """A peer left, or nothing reaches it; ``revoked``: it is admitted no more, so that its blame does not count."""
        state, attempt = self._state, self._member.attempt
        state.timer.advance(now)
        state.presence.down(peer)
        state.presence.strikes.gone(peer, revoked=revoked)
        self._founding.depart(peer)
        state.offers.discard(peer)
        self._catch_up.lost(peer)
        self._leadership.lost(peer)
        self._offer_again()
        if attempt and attempt.attempt.leader == peer and self._member.begins_lineage(attempt):
            self._member.drop()
        return self._drive()

    def peer_refused(self, peer: PeerId, now: float) -> list[Effect]:
        """A peer has another model or other settings: it is not waited for."""
        self._state.timer.advance(now)
        self._founding.refuse(peer)
        return self._drive()

    def peer_ended(self, peer: PeerId, now: float) -> list[Effect]:
        """A peer has ended, and will not come: the start does not wait for it."""
        self._state.timer.advance(now)
        self._founding.forgo(peer)
        return self._drive()

    def receive(self, sender: PeerId, message: Message, now: float) -> list[Effect]:
        """A message of a peer of this session has arrived."""
        self._state.timer.advance(now)
        # Else a peer that counts as gone could end each attempt of the rest before it has begun a lineage of its own.
        ended = isinstance(message, Prepare | Propose | Nack) and sender in self._state.given_up
        if sender in self._state.presence.live and not ended:
            self._dispatch(sender, message)
        return self._drive()

    def exchanged(
        self,
        key: Key,
        digest: str,
        norms: tuple[PartialNorm, ...],
        now: float,
        *,
        slices: tuple[str, ...] = (),
    ) -> list[Effect]:
        """The exchange of this attempt is complete here.

        ``digest`` is that of the merged model, ``norms`` are what this peer has measured in its slice, ``slices`` the
        digests of the slices of all members.
        """
        self._state.timer.advance(now)
        self._member.exchanged(key, digest, norms, slices)
        return self._drive()

    def exchange_failed(self, key: Key, blamed: PeerId, reason: str, now: float) -> list[Effect]:
        """The exchange of this attempt cannot finish here."""
        self._state.timer.advance(now)
        if self._member.exchange_failed(key, blamed, reason):
            self._waiting.failed_here(reason)
        return self._drive()

    def healed(self, commit: Commit, now: float) -> list[Effect]:
        """The model of ``commit`` was fetched; the caller applies it and offers again."""
        self._state.timer.advance(now)
        self._catch_up.healed(commit)
        self._state.presence.strikes.caught_up()
        self._enter(commit, settled=self.may_contain(commit) or self.may_contain_lost(commit), behind=True)
        self._state.pace.training_from(None)
        return self._drive()

    def fetched(self, digest: str, now: float, *, success: bool) -> list[Effect]:
        """The undecided model with ``digest`` was fetched, or could not be."""
        self._state.timer.advance(now)
        self._member.fetched(digest, success=success)
        return self._drive()

    def heal_failed(
        self, commit: Commit, sources: Collection[PeerId], now: float, untrue: Collection[PeerId] = ()
    ) -> list[Effect]:
        """``sources`` could not give the model of ``commit``; those in ``untrue`` not even the records up to it."""
        self._state.timer.advance(now)
        self._catch_up.disbelieve(untrue)
        self._catch_up.failed(commit, sources)
        return self._drive()

    def prove(self, proof: Proof, now: float) -> list[Effect]:
        """Two statements of a member contradict one another."""
        self._state.timer.advance(now)
        self._on_evidence(proof)
        return self._drive()

    def tick(self, now: float) -> list[Effect]:
        """Time has passed."""
        self._state.timer.advance(now)
        return self._drive()

    # Messages --------------------------------------------------------------------------------------------------------

    def _dispatch(self, sender: PeerId, message: Message) -> None:
        match message:
            case Offer():
                self._on_offer(sender, message)
            case Withdraw():
                self._on_withdraw(sender, message)
            case Propose():
                self._catch_up.learn(sender, message.proposal.lineage, message.proposal.parent)
                self._member.on_propose(sender, message.proposal, healing=self._catch_up.healing)
            case Prepare():
                if self._member.on_prepare(sender, message):
                    self._leadership.resign_for(message)
            case Abort():
                if self._member.on_abort(sender, message):
                    self._waiting.aborted(message.reason)
            case Accept():
                self._member.on_accept(sender, message)
            case Decide():
                self._see(sender, message.commit)
            case Nack():
                self._leadership.on_nack(sender, message)
            case Ask():
                self._on_ask(sender, message)
            case Evidence():
                self._on_evidence(message.proof, sender)
            case Farewell():
                self._farewells[sender] = message.lineage, message.round
            case Failed():
                self._member.on_failed(sender, message)
                self._leadership.on_answer(sender, message)
            case Promise() | Ready() | Accepted():
                self._leadership.on_answer(sender, message)

    def _on_offer(self, sender: PeerId, message: Offer) -> None:
        position = self._state.position
        if message.stats.peer != sender:
            text = f"{sender} sent an offer in the name of {message.stats.peer}; it is ignored"
            self._state.effects.notice(text, loud=True, sender=sender)
            return
        if message.key != self._state.key_of(sender):
            text = f"{sender} sent an offer with another key than it gave on joining; it is ignored"
            self._state.effects.notice(text, loud=True, sender=sender)
            return
        self._catch_up.learn(sender, message.lineage, message.parent)
        behind = message.lineage == position.lineage and message.stats.round < position.round
        apart = message.stats.round == position.round and message.previous != position.previous
        if position.commit and (behind or apart or message.lineage != position.lineage):
            # It is behind, of another lineage, or has another record of the same round: this one tells it.
            self._state.effects.send(sender, Decide(position.commit))
        self._state.offers.keep(sender, message)

    def _on_withdraw(self, sender: PeerId, message: Withdraw) -> None:
        offer = self._state.offers.of(sender)
        if offer and (offer.lineage, offer.stats.round) == (message.lineage, message.round):
            self._state.offers.discard(sender)

    def _on_ask(self, sender: PeerId, message: Ask) -> None:
        """A peer may have missed a decision; it hears of the last one."""
        commit = self.commit
        if commit and message.lineage == commit.lineage and message.round <= commit.round:
            self._state.effects.send(sender, Decide(commit))

    def _on_evidence(self, proof: Proof, sender: PeerId = "") -> None:
        """A member has signed two results of one round, as ``sender`` says: it votes and takes part no more."""
        state, commit = self._state, self.commit
        if proof.peer in state.presence.proven or commit is None or commit.key_of(proof.peer) != proof.key:
            return
        if not state.verifier.proven(proof):
            text = f"{sender or state.me} accuses {proof.peer} of two results, which proves nothing; it is ignored"
            state.effects.notice(text, loud=True, sender=sender or state.me)
            return
        state.presence.proven[proof.peer] = proof
        state.offers.discard(proof.peer)
        text = f"{proof.peer} has signed two results of round {proof.round}: it is removed"
        state.effects.notice(text, loud=True)
        state.effects.add(Proven(proof))
        state.effects.tell(state.presence.live, Evidence(proof))
        self._offer_again()

    def _offer_again(self) -> None:
        """Tell the others if other members are gone, or removed, than the offer of this peer says."""
        state, mine = self._state, self._state.offers.mine
        if mine is None:
            return
        signed = state.sign_offer(mine)
        if signed != mine:
            state.offers.make(signed)
            state.effects.tell(state.presence.live, signed)

    # Committing ------------------------------------------------------------------------------------------------------

    def _see(self, sender: PeerId, commit: Commit) -> None:
        mine = self.commit
        same = mine and (mine.lineage, mine.round) == (commit.lineage, commit.round)
        if mine and same and mine.previous == commit.previous and record_hash(mine) != record_hash(commit):
            for proof in conflict(mine, commit, self._before):
                self._on_evidence(proof)
        if self._catch_up.see(sender, commit):
            self._commit(commit)

    def _commit(self, commit: Commit) -> None:
        state = self._state
        held = self._member.held(commit.digest)
        self._member.drop(forget=False)
        if self.commit and commit.lineage != self.commit.lineage:
            state.effects.notice(lineage_began(commit, self.commit, state.rules.min_peers), loud=True)
        if state.me in commit.group:
            state.suspended = False
        entries, offers = (held.entries, held.offers) if held else ((), ())
        state.effects.add(Apply(commit, entries, tuple(offer.stats for offer in offers)))
        # A member of the group takes the model for what it offered, unless nobody contributed.
        self._enter(commit, settled=state.me in commit.group and bool(commit.contributors))
        if commit.closing:
            state.effects.tell(state.presence.live, Farewell(commit.lineage, commit.round))

    def _enter(self, commit: Commit, *, settled: bool, behind: bool = False) -> None:
        self._member.drop()
        self._member.new_round(commit, settled=settled)
        before = self._before = self.commit
        self._state.enter(commit)
        self._leadership.new_round(commit, behind=behind)
        self._catch_up.entered(commit, before)

    # What is due -----------------------------------------------------------------------------------------------------

    def _drive(self) -> list[Effect]:
        """Do all that is due, then return the effects."""
        effects = self._state.effects
        self._state.timer.reset()
        self._advance()
        while effects.loopback:
            while effects.loopback:
                self._dispatch(self._state.me, effects.loopback.popleft())
            self._advance()
        return effects.take()

    def _advance(self) -> None:
        if self._catch_up.due():
            self._member.drop()
            self._leadership.resign()
            self._catch_up.begin()
        if self._catch_up.healing or self.closed:
            return
        presence = self._state.presence
        removed = presence.strikes.removed() | presence.overdue
        if removed != self._removed:
            self._removed = removed
            self._offer_again()
        self._end_wait()  # before it proposes: who ends its wait could take no part in that attempt
        decision = self._leadership.step()
        if decision:
            self._decided(decision)
        if self.closed:
            return
        if self.commit is None:
            self._found()
        else:
            exchanging = self._member.attempt is not None
            self._leadership.fail_over(self.commit, exchanging=exchanging, assembling=self._member.assembling)
            self._end_wait()
        self._resend()

    def _end_wait(self) -> None:
        if self.commit:
            busy = self._member.attempt is not None or self._leadership.proposed
            self._waiting.end_if_hopeless(self.commit, busy=busy)

    def _decided(self, commit: Commit) -> None:
        """This peer has decided ``commit``: the live members of its group have it."""
        for peer in commit.group:
            if peer in self._state.presence.here:
                self._see(peer, commit)

    def _found(self) -> None:
        state, founding = self._state, self._founding
        if state.offers.mine is None:
            return
        if self._member.attempt:
            founding.joined(self._member.attempt)
        if not self._leadership.leads:
            if self._member.attempt is None:
                match founding.look(self._waiting.since):
                    case Proposal() as proposal:
                        self._leadership.found(proposal)
                    case Fail() as failure:
                        state.effects.add(failure)
            elif self._leadership.overdue():
                self._member.drop()
        unknown = max(founding.expected, state.rules.min_peers) - len(state.presence.live) - 1
        left = max(self._waiting.since + state.rules.start_timeout - state.timer.now, 0.0)
        self._waiting.line(
            lambda: f"waiting to start with {self._waiting.missing(unknown, founding.unmet)}, for {left:.0f} s at most"
        )

    def _resend(self) -> None:
        """Retransmit what may have been lost."""
        state, attempt, awaited = self._state, self._member.attempt, self._leadership.awaited
        mine, live = state.offers.mine, state.presence.live
        if awaited != self._offered_to:
            self._offered_to = awaited
            self._offer_retry.hurry()
        if self._offer_retry.due(needed=mine is not None) and mine:
            # The leader of the attempt that this peer has joined knows its offer, unless it has restarted. Where
            # another leader is awaited since, that one may lack the offer, and any peer may be next.
            joined = attempt is not None and attempt.attempt == awaited
            state.effects.tell(live & {awaited.leader} if joined else live, mine)
        if self._leader_retry.due(needed=self._leadership.asking):
            self._leadership.resend()

"""How a round is agreed on: one peer's state machine, free of I/O, threads and clocks.

Inputs are method calls with the time of their arrival; what is to be done comes back as a list of
:mod:`swarm.consensus.effects`. The same code runs in production, in tests and under simulation.

A round commits when more than half of the membership has accepted one result that every member of the group holds.
Until then nobody applies anything, so a round either gives the whole group one model or changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection

from swarm.consensus.catchup import CatchUp
from swarm.consensus.effects import Apply, Effect
from swarm.consensus.failover import LeaderFailover
from swarm.consensus.founding import Founding
from swarm.consensus.leadership import Leadership
from swarm.consensus.member import Key, Member
from swarm.consensus.repetition import Repetition
from swarm.consensus.rules import RoundRules
from swarm.consensus.view import RoundView
from swarm.consensus.waiting import Waiting
from swarm.messages import (
    Abort,
    Accept,
    Accepted,
    Decide,
    Failed,
    Farewell,
    Message,
    Nack,
    Offer,
    PartialNorm,
    Prepare,
    Promise,
    Propose,
    Ready,
    Withdraw,
)
from swarm.records import Commit, ContributionStats, PeerId

RETRY = 1.0
"""Seconds after which a leader asks again, and a peer offers again, what was not answered."""
LONGEST_RETRY = 8.0
"""Seconds between offers at last: while a straggler is waited for, each goes to everybody else."""


class RoundMachine:
    """One peer in one session: offers, forms or joins groups, votes, commits, catches up."""

    def __init__(self, me: PeerId, incarnation: str, rules: RoundRules, now: float) -> None:
        self._view = RoundView(me, incarnation, rules, now)
        self._founding = Founding(self._view)
        self._failover = LeaderFailover(self._view)
        self._member = Member(self._view, self._failover)
        self._waiting = Waiting(self._view)
        self._leadership = Leadership(self._view, self._failover)
        self._catch_up = CatchUp(self._view)
        self._asking_again = Repetition(self._view, RETRY, RETRY)
        self._offering_again = Repetition(self._view, RETRY, LONGEST_RETRY)
        self._offered_to = self._failover.awaited
        self._farewells: dict[PeerId, tuple[str, int]] = {}
        """Lineage and number of the closing round that a peer has; it may be told before it is known here."""

    # What others may ask ---------------------------------------------------------------------------------------------

    @property
    def commit(self) -> Commit | None:
        """The last committed round applied here."""
        return self._view.commit

    @property
    def round(self) -> int:
        """Number of the round to come."""
        return self._view.round

    @property
    def closed(self) -> bool:
        """Whether the closing round is committed."""
        return self._view.closed

    @property
    def live(self) -> frozenset[PeerId]:
        """Peers of the session that can be reached, without this one."""
        return frozenset(self._view.live)

    @property
    def offered(self) -> bool:
        """Whether an offer of this peer is waiting for a round."""
        return self._view.mine is not None

    @property
    def votes(self) -> bool:
        """Whether this process may vote in the round to come."""
        return self._view.votes

    @property
    def pending(self) -> bool:
        """Whether an attempt this peer has joined may still be decided: the capture it offered must be kept."""
        return self._member.attempt is not None or bool(self._view.exposed)

    def may_contain(self, commit: Commit) -> bool:
        """Whether ``commit``, or one before it that this peer has not seen, may contain what this peer offered.

        Then its steps count as merged. The record of a round says who contributed to it; of the rounds between that
        one and the offer nothing is known.
        """
        contributed = self._view.me in commit.contributors
        return any(
            round_ < commit.round or (contributed and (lineage, round_) == (commit.lineage, commit.round))
            for lineage, round_, _ in self._view.exposed
        )

    @property
    def needed(self) -> frozenset[str]:
        """Digests of assembled models that may still be committed."""
        return frozenset(self._view.held)

    @property
    def farewelled(self) -> bool:
        """Whether every live member of the closing round is known to have committed it."""
        commit = self.commit
        if commit is None:
            return False
        closing = commit.lineage, commit.round
        return all(self._farewells.get(peer) == closing for peer in {*commit.group} & self._view.live)

    def deadline(self) -> float | None:
        """When ``tick`` is due if no other input comes first."""
        return self._view.wake

    # Inputs ----------------------------------------------------------------------------------------------------------

    def offer(self, stats: ContributionStats, now: float) -> list[Effect]:
        """This peer is at a sync point, or at the start: ``stats`` describe its capture."""
        view = self._view
        view.now = now
        if view.training_since is not None and not stats.status.finished:
            view.pace.trained(now - view.training_since)
        view.mine = Offer(view.lineage, view.parent, view.votes or view.commit is None, stats)
        view.keep(view.me, view.mine)
        view.tell(view.live, view.mine)
        self._waiting.begin()
        self._offering_again.restart()
        return self._drive()

    def resume(self, commit: Commit, now: float) -> list[Effect]:
        """Go on from a commit of an earlier process, before anything else happens; its votes are forgotten."""
        self._view.now = now
        self._enter(commit)
        return self._drive()

    def peer_up(self, peer: PeerId, commit: Commit | None, now: float, *, weight: int | None = None) -> list[Effect]:
        """A peer of this session, with the same model and settings, can be reached.

        ``commit`` is how far it is, ``weight`` what it declared on joining.
        """
        view = self._view
        view.now = now
        known = peer in view.live
        view.live.add(peer)
        if not known:
            view.absent.discard(peer)
            view.short = False
        if weight is not None:
            view.joined[peer] = weight
        self._failover.returned(peer)
        self._founding.welcome(peer)
        if view.mine and not known:
            view.send(peer, view.mine)
        # One that was known and greets again may not have taken what it was told in between.
        self._offering_again.hurry()
        if commit:
            self._see(peer, commit)
        return self._drive()

    def peer_down(self, peer: PeerId, now: float) -> list[Effect]:
        """A peer left, or nothing reaches it."""
        view, attempt = self._view, self._member.attempt
        view.now = now
        view.live.discard(peer)
        self._founding.depart(peer)
        view.offers.pop(peer, None)
        self._catch_up.lost(peer)
        self._leadership.lost(peer)
        if attempt and attempt.attempt.leader == peer and self._member.is_birth(attempt):
            self._member.drop()
        return self._drive()

    def peer_refused(self, peer: PeerId, now: float) -> list[Effect]:
        """A peer has another model or other settings: it is not waited for."""
        self._view.now = now
        self._founding.refuse(peer)
        return self._drive()

    def receive(self, sender: PeerId, message: Message, now: float) -> list[Effect]:
        """A message of a peer of this session has arrived."""
        self._view.now = now
        if sender in self._view.live:
            self._dispatch(sender, message)
        return self._drive()

    def exchanged(self, key: Key, digest: str, norms: tuple[PartialNorm, ...], now: float) -> list[Effect]:
        """The exchange of this attempt is complete here.

        ``digest`` is that of the merged model, ``norms`` are what this peer has measured in its slice.
        """
        self._view.now = now
        self._member.exchanged(key, digest, norms)
        return self._drive()

    def exchange_failed(self, key: Key, blamed: PeerId, reason: str, now: float) -> list[Effect]:
        """The exchange of this attempt cannot finish here."""
        self._view.now = now
        self._member.exchange_failed(key, blamed, reason)
        return self._drive()

    def healed(self, commit: Commit, now: float) -> list[Effect]:
        """The model of ``commit`` was fetched; the surroundings apply it and offer again."""
        self._view.now = now
        self._catch_up.healed(commit)
        self._enter(commit)
        self._view.training_since = None
        return self._drive()

    def fetched(self, digest: str, now: float, *, success: bool) -> list[Effect]:
        """The undecided model with ``digest`` was fetched, or could not be."""
        self._view.now = now
        self._member.fetched(digest, success=success)
        return self._drive()

    def heal_failed(self, commit: Commit, sources: Collection[PeerId], now: float) -> list[Effect]:
        """``sources`` could not give the model of ``commit``."""
        self._view.now = now
        self._catch_up.failed(commit, sources)
        return self._drive()

    def tick(self, now: float) -> list[Effect]:
        """Time has passed."""
        self._view.now = now
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
                self._member.on_propose(sender, message.proposal)
            case Prepare():
                if self._member.on_prepare(sender, message):
                    self._leadership.yield_to(message.attempt)
            case Abort():
                self._member.on_abort(sender, message)
            case Accept():
                self._member.on_accept(sender, message)
            case Decide():
                self._see(sender, message.commit)
            case Nack():
                self._leadership.nack(message)
            case Farewell():
                self._farewells[sender] = message.lineage, message.round
            case Promise() | Ready() | Failed() | Accepted():
                self._leadership.receive(sender, message)

    def _on_offer(self, sender: PeerId, message: Offer) -> None:
        view = self._view
        self._catch_up.learn(sender, message.lineage, message.parent)
        behind = message.lineage == view.lineage and message.stats.round < view.round
        if view.commit and (behind or message.lineage != view.lineage):
            # It is behind, or of another lineage: the record tells it where to catch up.
            view.send(sender, Decide(view.commit))
        view.keep(sender, message)

    def _on_withdraw(self, sender: PeerId, message: Withdraw) -> None:
        offer = self._view.offers.get(sender)
        if offer and (offer.lineage, offer.stats.round) == (message.lineage, message.round):
            del self._view.offers[sender]

    # Committing ------------------------------------------------------------------------------------------------------

    def _see(self, sender: PeerId, commit: Commit) -> None:
        if self._catch_up.see(sender, commit):
            self._commit(commit)

    def _commit(self, commit: Commit) -> None:
        view = self._view
        self._member.drop(forget=False)
        view.votes = view.votes or view.me in commit.group
        view.effects.append(Apply(commit))
        self._enter(commit)
        if commit.closing:
            view.tell(view.live, Farewell(commit.lineage, commit.round))

    def _enter(self, commit: Commit) -> None:
        view = self._view
        self._member.drop()
        view.enter(commit)
        self._failover.new_round()
        self._leadership.new_round(commit)
        self._catch_up.entered(commit)

    # What is due -----------------------------------------------------------------------------------------------------

    def _drive(self) -> list[Effect]:
        """Do all that is due, then hand the effects over."""
        view = self._view
        view.wake = None
        self._advance()
        while view.inbox:
            while view.inbox:
                self._dispatch(view.me, view.inbox.popleft())
            self._advance()
        effects, view.effects = view.effects, []
        return effects

    def _advance(self) -> None:
        view = self._view
        if self._catch_up.due():
            self._member.drop()
            self._leadership.resign()
            self._catch_up.begin()
        if view.healing or self.closed:
            return
        decision = self._leadership.step()
        if decision:
            self._decided(decision)
        if self.closed:
            return
        if view.commit is None:
            self._found()
        else:
            exchanging = self._member.attempt is not None
            self._leadership.follow(exchanging=exchanging)
            self._waiting.end_if_hopeless(busy=exchanging or self._leadership.proposed)
        self._resend()

    def _decided(self, commit: Commit) -> None:
        view = self._view
        for peer in commit.group:
            if peer in view.live or peer == view.me:
                self._see(peer, commit)

    def _found(self) -> None:
        view, founding = self._view, self._founding
        if view.mine is None:
            return
        if self._leadership.vacant and self._member.attempt is None:
            proposal = founding.proposal()
            if proposal:
                self._leadership.found(proposal)
            else:
                failure = founding.failure(self._waiting.since)
                if failure:
                    view.effects.append(failure)
        elif self._leadership.vacant and self._failover.overdue():
            self._member.drop()
        unknown = max(founding.expected, view.rules.min_peers) - len(view.live) - 1
        self._waiting.line(lambda: f"waiting to start with {self._waiting.missing(unknown)}")

    def _resend(self) -> None:
        """Retransmit what may have been lost."""
        view, attempt, awaited = self._view, self._member.attempt, self._failover.awaited
        if awaited != self._offered_to:
            self._offered_to = awaited
            self._offering_again.hurry()
        if self._offering_again.due(needed=view.mine is not None) and view.mine:
            # Who has joined an attempt lacks its outcome at most, and its leader knows that; unless that one is silent,
            # or was started anew. Then it is another's turn, who may lack the offer.
            joined = attempt is not None and attempt.attempt == awaited
            view.tell(view.live & {awaited.leader} if joined else view.live, view.mine)
        if self._asking_again.due(needed=self._leadership.asking):
            self._leadership.resend()

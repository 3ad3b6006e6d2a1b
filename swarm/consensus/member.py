"""The member's role: join an attempt, exchange, promise, accept."""

from __future__ import annotations

from swarm.consensus.effects import Fetch, StartExchange, StopExchange
from swarm.consensus.failover import LeaderFailover
from swarm.consensus.order import majority
from swarm.consensus.view import RoundView
from swarm.messages import (
    Abort,
    Accept,
    Accepted,
    Decide,
    Failed,
    Nack,
    PartialNorm,
    Prepare,
    Promise,
    Proposal,
    Ready,
)
from swarm.records import Attempt, PeerId, PeerStatus

Key = tuple[str, int, Attempt]
"""Lineage, round and attempt of a proposal."""


class Member:
    """This peer as a member of groups: in one attempt at a time."""

    def __init__(self, view: RoundView, failover: LeaderFailover) -> None:
        self._view = view
        self._failover = failover
        self._failure: Failed | None = None
        self._norms: tuple[PartialNorm, ...] = ()
        """What this peer has measured in the attempt that it is ready for."""
        self._kept: set[str] = set()
        """Digests accepted for births of lineages: their leaders may decide them at any time."""
        self._left: set[Key] = set()
        """Attempts that this peer has left; their streams are gone, so it cannot join them again."""
        self._asked: dict[str, Proposal] = {}
        """Proposals that a leader asked to accept and whose bytes are not here, by digest."""
        self._fetching: set[str] = set()
        self.attempt: Proposal | None = None
        """The attempt that this peer is exchanging or ready for."""

    def on_propose(self, sender: PeerId, proposal: Proposal) -> None:
        """Join the attempt, or say why not; asked again, retransmit how far it is."""
        view = self._view
        if sender != proposal.attempt.leader or view.me not in proposal.group:
            return
        if self.attempt and self.attempt.key == proposal.key:
            self._failover.heard(sender)
            self._answer_again(proposal)
            return
        refusal = self._refusal(proposal)
        if refusal:
            view.send(sender, Failed(*proposal.key, view.me, refusal))
            return
        if self.is_birth(proposal):
            nack = self.attempt.attempt if self.attempt else None
        else:
            nack = None if view.acceptor.promise(proposal.attempt) else view.acceptor.promised
        if nack and nack > proposal.attempt:
            view.send(sender, Nack(*proposal.key, nack))
            return
        self.drop()
        if not self.is_birth(proposal):
            # Its leader has promises from a majority, or no attempt went before: no lower one can be decided any more.
            view.exposed = {key for key in view.exposed if key[0] != proposal.lineage}
        self.attempt, self._failure = proposal, None
        self._failover.await_(proposal.attempt)
        view.effects.append(StartExchange(proposal))

    def _answer_again(self, proposal: Proposal) -> None:
        view, leader = self._view, proposal.attempt.leader
        if self._failure:
            view.send(leader, self._failure)
        for digest, held in view.held.items():
            if held.key == proposal.key:
                view.send(leader, Ready(*proposal.key, digest, self._norms))

    def _refusal(self, proposal: Proposal) -> str | None:
        """Why this peer cannot join the attempt; None where it can."""
        view = self._view
        if proposal.key in self._left:
            return f"{view.me} has left this attempt"
        if (proposal.round, proposal.parent) != (view.round, view.parent):
            return f"{view.me} is at round {view.round} of lineage {view.lineage or '(none)'}"
        if view.mine is None or view.healing:
            return f"{view.me} has nothing on offer"
        if not proposal.contributors:
            return "nobody is to send a model"
        entry = next(entry for entry in proposal.entries if entry.peer == view.me)
        as_offered = proposal.parent and entry.weight and entry.status is not PeerStatus.ACTIVE
        if as_offered and entry.norm != view.mine.stats.delta_norm:
            return f"{view.me} has offered other weights since"
        if view.commit and proposal.lineage != view.lineage and majority(view.commit.members, view.reachable):
            return f"{view.me} still reaches a majority"
        return None

    def exchanged(self, key: Key, digest: str, norms: tuple[PartialNorm, ...]) -> None:
        """The merged model of this attempt is assembled here."""
        if self.attempt and self.attempt.key == key:
            self._norms = norms
            self._view.held[digest] = self.attempt
            if self._view.me in self.attempt.counted:
                self._view.exposed.add(key)
            self._view.send(self.attempt.attempt.leader, Ready(*key, digest, norms))
            self._failover.heard(self.attempt.attempt.leader)

    def exchange_failed(self, key: Key, blamed: PeerId, reason: str) -> None:
        """The exchange of this attempt cannot finish here."""
        if self.attempt and self.attempt.key == key:
            self._failure = Failed(*key, blamed, reason)
            if blamed == self._view.me:
                self._view.faults.append(reason)
            self._view.send(self.attempt.attempt.leader, self._failure)
            self._failover.heard(self.attempt.attempt.leader)

    def on_prepare(self, sender: PeerId, message: Prepare) -> bool:
        """Promise the sender to answer nothing lower; whether this peer did."""
        view = self._view
        key = message.lineage, message.round, message.attempt
        if (message.lineage, message.round) != (view.lineage, view.round):
            if view.commit and message.lineage == view.lineage and message.round <= view.commit.round:
                view.send(sender, Decide(view.commit))
            return False
        if not view.votes:
            return False
        if not view.acceptor.promise(message.attempt):
            view.send(sender, Nack(*key, view.acceptor.promised))
            return False
        self._failover.await_(message.attempt)
        if self.attempt and self.attempt.attempt < message.attempt:
            self.drop(forget=False)
        view.send(sender, Promise(*key, view.acceptor.accepted, view.acceptor.digest))
        return True

    def on_abort(self, sender: PeerId, message: Abort) -> None:
        """The leader gave the attempt up; the capture stays for the next."""
        view, key = self._view, (message.lineage, message.round, message.attempt)
        if sender != message.attempt.leader:
            return
        view.exposed.discard(key)
        view.held = {digest: held for digest, held in view.held.items() if held.key != key}
        if self.attempt and self.attempt.key == key:
            self.drop()
            self._failover.heard(sender)
            if sender != view.me:
                view.notice(f"round {message.round}: attempt aborted: {message.reason}", failed=True)

    def on_accept(self, sender: PeerId, message: Accept) -> None:
        """Accept what this peer holds, unless it promised otherwise."""
        view, proposal = self._view, message.proposal
        self._failover.heard(sender)
        if message.digest not in view.held:
            self._lacks(proposal, message.digest)
            return
        if self.is_birth(proposal):
            if self.attempt and self.attempt.key == proposal.key:
                self._kept.add(message.digest)
                view.send(sender, Accepted(*proposal.key))
        elif view.votes and (proposal.lineage, proposal.round) == (view.lineage, view.round):
            if view.acceptor.accept(proposal, message.digest):
                view.send(sender, Accepted(*proposal.key))
            else:
                view.send(sender, Nack(*proposal.key, view.acceptor.promised))

    def _lacks(self, proposal: Proposal, digest: str) -> None:
        """Asked to accept what is not here. Asked again, the others are too few: get it from one who has it."""
        view = self._view
        if not view.votes or (proposal.lineage, proposal.round) != (view.lineage, view.round):
            return
        sources = tuple(peer for peer in proposal.group if peer in view.live)
        if digest in self._asked and digest not in self._fetching and sources:
            self._fetching.add(digest)
            view.effects.append(Fetch(digest, sources))
        self._asked[digest] = proposal

    def fetched(self, digest: str, *, success: bool) -> None:
        """The model of a proposal that others have was fetched, or could not be."""
        self._fetching.discard(digest)
        proposal = self._asked.get(digest)
        view = self._view
        if success and proposal and (proposal.lineage, proposal.round) == (view.lineage, view.round):
            view.held[digest] = proposal

    def drop(self, *, forget: bool = True) -> None:
        """Leave the attempt. What was assembled is forgotten only where no leader can ask for it any more."""
        if self.attempt is None:
            return
        view, key = self._view, self.attempt.key
        self.attempt = None
        self._left = {left for left in self._left if left[1] == view.round} | {key}
        view.effects.append(StopExchange(key))
        if forget:
            kept = self._kept | {view.acceptor.digest}
            view.held = {digest: held for digest, held in view.held.items() if held.key != key or digest in kept}
            self._kept &= view.held.keys()

    def is_birth(self, proposal: Proposal) -> bool:
        """Whether it would begin a lineage; such an attempt is the only one of its decree."""
        return proposal.lineage != self._view.lineage

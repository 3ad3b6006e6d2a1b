"""When this peer leads: it takes the lead of one attempt at a time, and gives it up for a higher one."""

from __future__ import annotations

from swarm.consensus.failover import LeaderFailover
from swarm.consensus.leader import Leader, Stage
from swarm.consensus.view import RoundView
from swarm.messages import Accepted, Failed, Nack, Promise, Proposal, Ready
from swarm.records import Attempt, Commit, PeerId


class Leadership:
    """Holds this peer's :class:`Leader` while it leads, and nothing while another does."""

    def __init__(self, view: RoundView, failover: LeaderFailover) -> None:
        self._view = view
        self._failover = failover
        self._leader: Leader | None = None

    @property
    def vacant(self) -> bool:
        """Whether this peer does not lead."""
        return self._leader is None

    @property
    def proposed(self) -> bool:
        """Whether this peer leads, and the group has its proposal."""
        return self._leader is not None and self._leader.proposal is not None

    @property
    def asking(self) -> bool:
        """Whether this peer leads, and waits for answers that may have been lost."""
        return self._leader is not None and self._leader.stage is not Stage.FORMING

    # Taking the lead and giving it up --------------------------------------------------------------------------------

    def found(self, proposal: Proposal) -> None:
        """Lead the birth of the first lineage."""
        self._leader = Leader.founding(self._view, proposal)

    def new_round(self, commit: Commit) -> None:
        """The round after ``commit`` begins, and its first leader is awaited: this peer, maybe."""
        view, awaited = self._view, self._failover.awaited
        if awaited.leader == view.me and not commit.closing:
            self._leader = Leader(view, awaited, prepared=view.votes)
        else:
            self._leader = None

    def follow(self, *, exchanging: bool) -> None:
        """Take the lead if the awaited leader is gone or silent and it is this peer's turn."""
        if self._leader is None:
            attempt = self._failover.successor(exchanging=exchanging)
            if attempt:
                self._take_over(attempt)

    def resign(self) -> None:
        """Lead no more."""
        self._leader = None

    def yield_to(self, attempt: Attempt) -> None:
        """This peer has promised to answer nothing below ``attempt``."""
        if self._leader and self._leader.attempt < attempt:
            self._leader = None

    def nack(self, message: Nack) -> None:
        """A peer has promised a higher attempt: leave it to that one's leader, or go above it if that one is gone."""
        view, leader, promised = self._view, self._leader, message.promised
        if leader is None or leader.attempt != message.attempt or leader.stage is Stage.DECIDED:
            return
        self._leader = None
        if view.commit and message.lineage == view.lineage:
            view.acceptor.promise(promised)
            if promised.leader not in view.reachable - {view.me}:
                # Whoever it was promised to is not there to use it.
                self._take_over(Attempt(promised.counter + 1, view.me))
                return
        self._failover.await_(promised)

    def _take_over(self, attempt: Attempt) -> None:
        self._failover.await_(attempt)
        if attempt.leader == self._view.me:
            self._leader = Leader(self._view, attempt, prepared=False)

    # Leading ---------------------------------------------------------------------------------------------------------

    def receive(self, sender: PeerId, message: Promise | Ready | Failed | Accepted) -> None:
        """An answer to a leader has arrived; one to an attempt that this peer does not lead is stale."""
        leader = self._leader
        if leader is None or not leader.leads(message):
            return
        match message:
            case Promise():
                leader.on_promise(sender, message)
            case Ready():
                leader.on_ready(sender, message)
            case Failed():
                leader.on_failed(sender, message)
            case Accepted():
                leader.on_accepted(sender, message)

    def lost(self, peer: PeerId) -> None:
        """A peer is gone."""
        if self._leader:
            self._leader.lost(peer)

    def step(self) -> Commit | None:
        """Do what is due as leader; the commit, once it is decided."""
        view, leader = self._view, self._leader
        if leader is None:
            return None
        leader.step()
        if leader.decision:
            self._leader = None
        elif leader.stage is Stage.ABORTED:
            self._leader = None
            if view.commit:
                above = max(leader.attempt, view.acceptor.promised)
                self._take_over(Attempt(above.counter + 1, view.me))
        return leader.decision

    def resend(self) -> None:
        """Retransmit what some have not answered."""
        if self._leader:
            self._leader.resend()

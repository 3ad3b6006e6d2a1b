"""Whose word a member waits for, and who leads next when it does not come."""

from __future__ import annotations

from swarm.consensus.forming import Table, may_fork, quorum, worth_merging
from swarm.consensus.order import majority, next_attempt
from swarm.consensus.view import RoundView
from swarm.records import Attempt, PeerId


class LeaderFailover:
    """Watches the leader of the current round. Two peers may disagree on who follows; the votes settle that."""

    def __init__(self, view: RoundView) -> None:
        self._view = view
        self._silent: set[PeerId] = set()
        self._word = view.now
        self.awaited = Attempt(0, "")
        """The attempt whose leader should act next."""

    def new_round(self) -> None:
        """A round begins: its first leader is awaited."""
        self._silent.clear()
        self.await_(self._view.acceptor.promised)

    def await_(self, attempt: Attempt) -> None:
        """Wait for the leader of ``attempt``, from now."""
        self.awaited, self._word = attempt, self._view.now

    def heard(self, sender: PeerId) -> None:
        """``sender`` spoke; if it is the awaited leader, the wait begins anew."""
        if sender == self.awaited.leader:
            self._word = self._view.now

    def returned(self, peer: PeerId) -> None:
        """A peer can be reached again."""
        self._silent.discard(peer)

    def _possible(self, table: Table) -> bool:
        """Whether the awaited leader could go ahead with those who have offered."""
        rules = self._view.rules
        if majority(table.commit.members, self._view.reachable):
            return quorum(table, rules)
        return may_fork(table, rules)

    def overdue(self) -> bool:
        """Whether the leader of a running attempt has been silent for too long."""
        return self._view.past(self._word + self._view.rules.failure_timeout)

    def successor(self, *, exchanging: bool) -> Attempt | None:
        """The attempt to follow when the awaited leader is gone, or silent though it should have spoken."""
        view = self._view
        table = view.table()
        if not table.offers:
            self._word = view.now
            return None
        members = set(table.commit.members)
        able = view.reachable & members or (view.live | {view.me}) & members
        # Who missed the last round does not have its model, and cannot lead the next one before it comes.
        able = able - view.absent or able
        # Awaited itself, it has given its attempt up in order to catch up, and that came to nothing.
        silent = self.awaited.leader not in able or self.awaited.leader == view.me
        if not silent and exchanging:
            silent = self.overdue()
        elif not silent and worth_merging(table) and self._possible(table):
            due = max(self._word, view.last_offer_at) + view.pace.straggler_timeout + view.rules.failure_timeout
            silent = view.past(due)
        if not silent:
            return None
        self._silent |= {self.awaited.leader} - {view.me}
        attempt = next_attempt(view.rules.session, view.round, table.commit.members, self.awaited, able - self._silent)
        if attempt is None:
            self._silent.clear()
            self._word = view.now
        return attempt

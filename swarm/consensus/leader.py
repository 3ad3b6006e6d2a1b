"""Who leads the round: the leader that this peer follows, and its own attempt while it leads itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from swarm.certification.statements import prepare_statement
from swarm.consensus.attempt import LedAttempt, Stage
from swarm.consensus.forming import Table, may_fork, quorum, worth_merging
from swarm.consensus.paxos import MOST_ATTEMPTS, next_attempt
from swarm.consensus.state import RoundState
from swarm.consensus.strikes import NOBODY
from swarm.messages import Accepted, Failed, Nack, Prepare, Promise, Proposal, Ready
from swarm.records import Attempt, Commit, PeerId

TERM = 2.0
"""Time-outs that a leader has for a result beside the wait for stragglers, while no weights are on their way."""


class Leadership:
    """Detects a failed leader and names the next one; holds this peer's attempt while it leads.

    Two peers may disagree on who leads next; the votes decide between them.
    """

    def __init__(self, state: RoundState, holds: Callable[[str], bool]) -> None:
        """``holds`` tells whether the merged model of a digest is here."""
        self._state = state
        self._holds = holds
        self._led: LedAttempt | None = None
        self._lineage_numbers = itertools.count(1)
        """Numbers the lineages that this process proposes: no two of them may have one id."""
        self._silent: set[PeerId] = set()
        """Leaders of this round that did not act in time."""
        self._heard_at = state.timer.now
        """When the awaited leader was last heard, or became the awaited one."""
        self._term = 0.0
        """Seconds that the awaited leader could have used for a result, in all of its attempts at this round."""
        self._looked_at: float | None = None
        """When these were counted last; None while they are not."""
        self._prevented_by: frozenset[PeerId] = NOBODY
        """Who was left out at the last look, if no group was possible then."""
        self._back_at = state.timer.now
        """When one of them was let in again, and a group became possible."""
        self._given_up = Attempt(-1, "")
        """The last attempt that is not waited for any more, as its leader lies."""
        self._rejected: set[PeerId] = set()
        """Leaders of this round that were given up so."""
        self._asking_some: dict[PeerId, PeerId] = {}
        """Who has led an attempt at this round that this peer has heard of from others, and one of these."""
        self._asked_for: dict[PeerId, Attempt] = {}
        """The last attempt of each leader for which this peer was asked in this round, whether it promised or not."""
        self._behind = False
        """Whether others may have begun this round long before this peer."""
        self.awaited = Attempt(0, "")
        """The attempt whose leader should act next."""

    @property
    def leads(self) -> bool:
        """Whether this peer leads an attempt."""
        return self._led is not None

    @property
    def proposed(self) -> bool:
        """Whether this peer leads an attempt and has proposed a group."""
        return self._led is not None and self._led.proposal is not None

    @property
    def asking(self) -> bool:
        """Whether this peer leads an attempt and waits for answers, which may have been lost."""
        return self._led is not None and self._led.stage is not Stage.FORMING

    # Following a leader ----------------------------------------------------------------------------------------------

    def follow(self, attempt: Attempt) -> None:
        """Wait for the leader of ``attempt``; its time-out begins now, its term only if another one led before."""
        if attempt.leader != self.awaited.leader:
            self._begin_term()
        self.awaited, self._heard_at = attempt, self._state.timer.now

    def give_up(self, attempt: Attempt) -> None:
        """The leader of ``attempt`` lies, so another one is followed at once.

        Only once in a round: of two peers that reject what the other one proposes, each would take over for ever.
        """
        if attempt.leader not in self._rejected:
            self._rejected.add(attempt.leader)
            self._given_up = attempt

    def heard_from(self, sender: PeerId) -> None:
        """A message came from ``sender``; if that is the awaited leader, its time-out begins anew."""
        if sender == self.awaited.leader:
            self._heard_at = self._state.timer.now

    def returned(self, peer: PeerId) -> None:
        """A peer can be reached again: it may lead."""
        self._silent.discard(peer)

    def overdue(self) -> bool:
        """Whether the leader of a running attempt has been silent for ``failure_timeout``."""
        return self._state.timer.past(self._heard_at + self._state.rules.failure_timeout)

    def new_round(self, commit: Commit, *, behind: bool) -> None:
        """The round after ``commit`` begins; its first leader is awaited, which may be this peer.

        ``behind``: this peer comes late to this round, whose leaders may have asked it before.
        """
        state = self._state
        self._silent.clear()
        self._rejected.clear()
        self._asking_some.clear()
        self._asked_for.clear()
        self._behind = behind
        self._begin_term()
        self.follow(state.acceptor.promised)
        if self.awaited.leader == state.me and not commit.closing:
            self._led = LedAttempt(state, self.awaited, self._lineage_numbers, self._holds, prepared=state.votes)
        else:
            self._led = None

    def fail_over(self, commit: Commit, *, exchanging: bool, assembling: bool) -> None:
        """Follow the next leader, which may be this peer, if the awaited one is gone, silent or without a result.

        Args:
            commit: the last committed round; its members may lead.
            exchanging: this peer has joined an attempt.
            assembling: weights of that attempt are still on their way here.
        """
        if self._led is None:
            attempt = self._successor(commit, exchanging=exchanging, assembling=assembling)
            if attempt:
                self._take_over(attempt)

    def _begin_term(self) -> None:
        self._term, self._looked_at = 0.0, None

    def _term_over(self, *, counts: bool) -> bool:
        """Whether the awaited leader has had the time for a result. What it says does not make that longer.

        ``counts`` tells whether it is up to the leader now, and not to offers that are missing or weights on their way.
        """
        timer, before = self._state.timer, self._looked_at
        self._looked_at = timer.now if counts else None
        if not counts:
            return False
        self._term += timer.now - before if before is not None else 0.0
        longest = self._state.pace.straggler_timeout + TERM * self._state.rules.failure_timeout
        return timer.past(timer.now + longest - self._term)

    def _successor(self, commit: Commit, *, exchanging: bool, assembling: bool) -> Attempt | None:
        """The attempt to follow when the awaited leader is gone, or should have acted, or had the time for a result."""
        state = self._state
        # Between sync points nobody has offered, and this is asked at each input.
        table = state.table(commit) if state.offers.offered else None
        if table is None or not table.offers:
            self._heard_at = state.timer.now
            self._looked_at = None
            return None
        members = set(commit.members)
        able = state.reachable & members or state.presence.here & members
        able = able & state.leading or able
        if self.awaited == state.first_attempt:
            # Later attempts go on even so: two peers that leave out one another would take turns for ever.
            able = able - state.excluded() or able
        # A peer that missed the last round does not have its model, and cannot lead before it has fetched it.
        able = able - state.presence.absent or able
        # If this peer itself is awaited, it has given its attempt up to fetch a commit, and the fetch failed.
        failed = self.awaited.leader not in able or self.awaited.leader == state.me or self.awaited == self._given_up
        possible = worth_merging(table) and self._possible(table)
        struck = state.presence.strikes.excluded()
        if possible and self._prevented_by - struck:
            self._back_at = state.timer.now
        self._prevented_by = NOBODY if possible else struck
        late = self._term_over(counts=not failed and not assembling and (exchanging or possible))
        if not failed and exchanging:
            late = self.overdue() or late
        elif not failed and possible:
            since = max(self._heard_at, state.offers.last_at, self._back_at)
            late = state.timer.past(since + state.pace.straggler_timeout + state.rules.failure_timeout) or late
        if not failed and not late:
            return None
        if late:
            leader = self.awaited.leader
            text = f"round {state.position.round}: {leader}, which leads it, came to no result in time"
            state.effects.notice(text, loud=True, sender=leader)
            state.presence.strikes.late(leader)
        self._silent |= {self.awaited.leader} - {state.me}
        able = able - self._silent
        attempt = next_attempt(state.rules.session, state.position.round, members, self.awaited, able)
        if attempt is None:
            self._silent.clear()
            self._begin_term()
            self._heard_at = state.timer.now
        return attempt

    def _possible(self, table: Table) -> bool:
        """Whether the awaited leader could form a group of those who have offered."""
        if self._state.quorum(table.commit.members, self._state.reachable):
            return quorum(table, self._state.rules)
        return may_fork(table, self._state.rules)

    # Leading ---------------------------------------------------------------------------------------------------------

    def found(self, proposal: Proposal) -> None:
        """Lead the founding round."""
        self._led = LedAttempt.founding(self._state, proposal, self._lineage_numbers, self._holds)

    def resign(self) -> None:
        """Stop leading."""
        self._led = None

    def resign_for(self, other: Prepare) -> None:
        """Stop leading an attempt below that of another leader: this peer has promised to answer none.

        All are told why, as that leader may have asked this peer alone: then it is the one that comes to no result.
        """
        state = self._state
        if self._led and self._led.attempt < other.attempt:
            self._led = None
            state.effects.tell({*state.position.members} & state.presence.live - {other.attempt.leader}, other)

    def on_nack(self, sender: PeerId, message: Nack) -> None:
        """A peer has promised a higher attempt. Where that leaves too few, follow its leader, or lead a higher one."""
        state, led, promised = self._state, self._led, message.promised
        if led is None or not led.owns(message):
            return
        # What leads above it must not be too high for the others, which may not have answered this attempt yet.
        highest = state.acceptor.promised.counter + MOST_ATTEMPTS // 2
        if promised <= led.attempt or promised.counter > highest:
            text = f"{sender} answers an attempt with a promise to attempt {promised.counter}, which cannot be"
            state.effects.notice(f"{text}; it is ignored", loud=True, sender=sender)
            return
        asked = self._was_asked(message)
        if asked and promised != self._asked_for.get(promised.leader) and not self._behind:
            self._asking_some.setdefault(promised.leader, sender)
        if not led.on_nack(sender, message, asked=asked):
            return
        self._led = None
        if state.position.commit and message.lineage == state.position.lineage:
            if not state.acceptor.promise(promised):
                self._take_over(Attempt(led.attempt.counter + 1, state.me))
                return
            if promised.leader not in state.reachable - {state.me}:
                self._take_over(Attempt(promised.counter + 1, state.me))
                return
        self.follow(promised)

    def _was_asked(self, message: Nack) -> bool:
        """Whether a peer can show that it was asked for its promise."""
        commit, rules = self._state.position.commit, self._state.rules
        statement = prepare_statement(rules.session, message.lineage, message.round, message.promised)
        return commit is not None and rules.signer.verify(
            commit.key_of(message.promised.leader), statement, message.signature
        )

    def asks(self, attempt: Attempt) -> None:
        """The leader of an attempt asks this peer for a promise: so it leads openly."""
        self._asked_for[attempt.leader] = attempt
        self._asking_some.pop(attempt.leader, None)

    def follows_another(self, leader: PeerId) -> bool:
        """Whether this peer follows another one than ``leader``, has promised to it, and has heard it recently."""
        other, me = self._state.acceptor.promised.leader, self._state.me
        follows = other == self.awaited.leader and other not in (leader, me) and other in self._state.reachable
        return follows and not self.overdue()

    def on_answer(self, sender: PeerId, message: Promise | Ready | Failed | Accepted) -> None:
        """A member has answered; an answer to an attempt that this peer does not lead is stale."""
        led = self._led
        if led is None or not led.owns(message):
            return
        match message:
            case Promise():
                led.on_promise(sender, message)
            case Ready():
                led.on_ready(sender, message)
            case Failed():
                led.on_failed(sender, message)
            case Accepted():
                led.on_accepted(sender, message)

    def lost(self, peer: PeerId) -> None:
        """A peer cannot be reached any more."""
        if self._led:
            self._led.lost(peer)

    def step(self) -> Commit | None:
        """Do what is due as leader; the commit, once it is decided."""
        state, led = self._state, self._led
        if led is None:
            return None
        led.step()
        if led.decision:
            self._led = None
            self._blame_secret_leaders()
        elif led.stage is Stage.ABORTED:
            self._led = None
            if state.position.commit:
                above = max(led.above, state.acceptor.promised)
                self._take_over(Attempt(above.counter + 1, state.me))
        return led.decision

    def _blame_secret_leaders(self) -> None:
        """Leave out those who have asked a member for promises, and not this peer in all of the round."""
        state = self._state
        for leader, peer in self._asking_some.items():
            text = f"round {state.position.round}: {leader} has asked {peer} for promises, and not {state.me}"
            state.effects.notice(text, loud=True, sender=leader)
            state.presence.strikes.strike(self.awaited, leader)

    def resend(self) -> None:
        """Retransmit to those who have not answered."""
        if self._led:
            self._led.resend()

    def _take_over(self, attempt: Attempt) -> None:
        self.follow(attempt)
        if attempt.leader == self._state.me:
            self._led = LedAttempt(self._state, attempt, self._lineage_numbers, self._holds, prepared=False)

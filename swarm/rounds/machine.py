"""How a round is agreed on: one peer's state machine, free of I/O, threads and clocks.

Inputs are method calls with the time of their arrival; what is to be done comes back as a list of
:mod:`swarm.rounds.effects`. The same code runs in production, in tests and under simulation.

A round commits when more than half of the membership has accepted one result that every member of the group holds.
Until then nobody applies anything, so a round either gives the whole group one model or changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection

from swarm.messages import (
    Accept,
    Accepted,
    Decide,
    Failed,
    Farewell,
    Message,
    Offer,
    Outbid,
    Prepare,
    Promise,
    Propose,
    Ready,
    Void,
    Withdraw,
)
from swarm.records import Attempt, Commit, ContributionStats, PeerId
from swarm.rounds.effects import Apply, Effect, End, Fail, Heal, Skip
from swarm.rounds.founding import Founding
from swarm.rounds.leader import Leader, Stage
from swarm.rounds.member import Key, Member
from swarm.rounds.rules import RoundRules
from swarm.rounds.succession import Succession
from swarm.rounds.view import RoundView
from swarm.rounds.waiting import Waiting

RETRY = 1.0
"""Seconds after which what was not answered is said again."""


class RoundMachine:
    """One peer in one session: offers, forms or joins groups, votes, commits, catches up."""

    def __init__(self, me: PeerId, incarnation: str, rules: RoundRules, now: float) -> None:
        self._view = RoundView(me, incarnation, rules, now)
        self._founding = Founding(self._view)
        self._succession = Succession(self._view)
        self._member = Member(self._view, self._succession)
        self._waiting = Waiting(self._view)
        self._leader: Leader | None = None
        self._retry_at = now
        self._ahead: Commit | None = None
        """A commit that this peer lacks, and that others have moved on from."""
        self._holders: set[PeerId] = set()
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
        return self.commit is not None and self.commit.closing

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

    @property
    def exposed(self) -> bool:
        """Whether a commit this peer has not seen may contain what it offered: then its steps count as merged."""
        return bool(self._view.exposed)

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
        view.mine = Offer(view.lineage, view.parent, view.votes or view.commit is None, stats)
        view.keep(view.me, view.mine)
        view.tell(view.live, view.mine)
        self._waiting.begin()
        self._retry_at = now + RETRY
        return self._drive()

    def resume(self, commit: Commit, now: float) -> list[Effect]:
        """Go on from a commit of an earlier process, before anything else happens; its votes are forgotten."""
        self._view.now = now
        self._enter(commit)
        return self._drive()

    def peer_up(self, peer: PeerId, commit: Commit | None, now: float, *, weightage: int | None = None) -> list[Effect]:
        """A peer of this session, with the same model and settings, can be reached.

        ``commit`` is how far it is, ``weightage`` what it declared on joining.
        """
        view = self._view
        view.now = now
        known = peer in view.live
        view.live.add(peer)
        if weightage is not None:
            view.joined[peer] = weightage
        self._succession.returned(peer)
        if view.mine and not known:
            view.send(peer, view.mine)
        if commit:
            self._see(peer, commit)
        return self._drive()

    def peer_down(self, peer: PeerId, now: float) -> list[Effect]:
        """A peer left, or nothing reaches it."""
        view, attempt = self._view, self._member.attempt
        view.now = now
        view.live.discard(peer)
        view.offers.pop(peer, None)
        self._holders.discard(peer)
        if self._leader:
            self._leader.lost(peer)
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

    def exchanged(self, key: Key, digest: str, now: float) -> list[Effect]:
        """The exchange of this attempt is complete here; the merged model's digest is ``digest``."""
        self._view.now = now
        self._member.exchanged(key, digest)
        return self._drive()

    def exchange_failed(self, key: Key, blamed: PeerId, reason: str, now: float) -> list[Effect]:
        """The exchange of this attempt cannot finish here."""
        self._view.now = now
        self._member.exchange_failed(key, blamed, reason)
        return self._drive()

    def healed(self, commit: Commit, now: float) -> list[Effect]:
        """The model of ``commit`` was fetched; the surroundings apply it and offer again."""
        view = self._view
        view.now = now
        view.healing = False
        if view.commit and view.commit.lineage != commit.lineage:
            text = f"lineage {view.lineage} up to round {view.commit.round} is given up for lineage {commit.lineage}"
            view.notice(text, loud=True)
        if view.lineage != commit.lineage:
            # A process of this name may have voted there before this one was started.
            view.votes = False
        self._enter(commit)
        return self._drive()

    def fetched(self, digest: str, now: float, *, success: bool) -> list[Effect]:
        """The undecided model with ``digest`` was fetched, or could not be."""
        self._view.now = now
        self._member.fetched(digest, success=success)
        return self._drive()

    def heal_failed(self, commit: Commit, sources: Collection[PeerId], now: float) -> list[Effect]:
        """``sources`` could not give the model of ``commit``."""
        self._view.now = now
        self._view.healing = False
        self._holders.difference_update(sources)
        if not self._holders and self._ahead == commit:
            self._ahead = None
        return self._drive()

    def tick(self, now: float) -> list[Effect]:
        """Time has passed."""
        self._view.now = now
        return self._drive()

    # Messages --------------------------------------------------------------------------------------------------------

    def _dispatch(self, sender: PeerId, message: Message) -> None:
        leader = self._leader
        match message:
            case Offer():
                self._on_offer(sender, message)
            case Withdraw():
                self._on_withdraw(sender, message)
            case Propose():
                self._learn(sender, message.proposal.lineage, message.proposal.parent)
                self._member.on_propose(sender, message.proposal)
            case Prepare():
                if self._member.on_prepare(sender, message) and leader and leader.attempt < message.attempt:
                    self._leader = None
            case Void():
                self._member.on_void(sender, message)
            case Accept():
                self._member.on_accept(sender, message)
            case Decide():
                self._see(sender, message.commit)
            case Outbid():
                self._on_outbid(message)
            case Farewell():
                self._on_farewell(sender, message)
            case Promise() if leader and leader.leads(message):
                leader.on_promise(sender, message)
            case Ready() if leader and leader.leads(message):
                leader.on_ready(sender, message)
            case Failed() if leader and leader.leads(message):
                leader.on_failed(message)
            case Accepted() if leader and leader.leads(message):
                leader.on_accepted(sender, message)

    def _on_offer(self, sender: PeerId, message: Offer) -> None:
        view = self._view
        self._learn(sender, message.lineage, message.parent)
        behind = message.lineage == view.lineage and message.stats.round < view.round
        if view.commit and (behind or message.lineage != view.lineage):
            # It is behind, or of another lineage: the record tells it where to catch up.
            view.send(sender, Decide(view.commit))
        view.keep(sender, message)

    def _on_withdraw(self, sender: PeerId, message: Withdraw) -> None:
        offer = self._view.offers.get(sender)
        if offer and (offer.lineage, offer.stats.round) == (message.lineage, message.round):
            del self._view.offers[sender]

    def _on_outbid(self, message: Outbid) -> None:
        leader = self._leader
        if leader and leader.attempt == message.attempt and leader.stage is not Stage.DECIDED:
            view, promised = self._view, message.promised
            self._leader = None
            if view.commit and message.lineage == view.lineage:
                view.acceptor.promise(promised)
                if promised.leader not in view.reachable - {view.me}:
                    # Whoever it was promised to is not there to use it.
                    self._take_over(Attempt(promised.counter + 1, view.me))
                    return
            self._succession.await_(promised)

    def _on_farewell(self, sender: PeerId, message: Farewell) -> None:
        self._farewells[sender] = message.lineage, message.round

    # Committing and catching up --------------------------------------------------------------------------------------

    def _learn(self, sender: PeerId, lineage: str, parent: str) -> None:
        """A peer builds on ``parent``: if that is a result held here, it was decided."""
        view = self._view
        held = view.held.get(parent)
        if held and held.lineage == lineage:
            # Another attempt may have given the same bytes: only its record tells the membership, so ask for that.
            view.send(sender, Prepare(view.lineage, view.round, view.acceptor.promised))

    def _see(self, sender: PeerId, commit: Commit) -> None:
        """A peer has ``commit``: commit it here as well, or note that this peer is behind."""
        view = self._view
        ours = view.commit
        held = None if view.healing else view.held.get(commit.digest)
        if held and (held.lineage, held.round) == (commit.lineage, commit.round):
            self._commit(commit)
        elif ours is None or _beats(commit, ours):
            self._note_ahead(sender, commit)
        elif ours.lineage != commit.lineage and not ours.closing:
            view.send(sender, Decide(ours))

    def _note_ahead(self, sender: PeerId, commit: Commit) -> None:
        if self.closed:
            return
        known = self._ahead
        if known is None or (known.lineage, known.round) != (commit.lineage, commit.round):
            if known and not _beats(commit, known):
                return
            self._ahead, self._holders = commit, set()
        self._holders.add(sender)

    def _commit(self, commit: Commit) -> None:
        view = self._view
        self._member.drop(forget=False)
        view.votes = view.votes or view.me in commit.group
        view.effects.append(Apply(commit))
        view.pace.committed(view.now)
        self._enter(commit)
        if commit.closing:
            view.tell(view.live, Farewell(commit.lineage, commit.round))

    def _enter(self, commit: Commit) -> None:
        view = self._view
        self._member.drop()
        self._leader = None
        view.enter(commit)
        self._succession.new_round()
        if self._ahead and not _beats(self._ahead, commit):
            self._ahead = None
        if self._succession.awaited.leader == view.me and not commit.closing:
            self._leader = Leader(view, self._succession.awaited, prepared=view.votes)

    def _heal(self, commit: Commit) -> None:
        sources = self._holders & self._view.live
        if not sources:
            self._ahead = None
            return
        self._member.drop()
        self._leader = None
        self._view.healing = True
        self._view.effects.append(Heal(commit, tuple(sorted(sources))))

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
        if self._ahead and view.mine and not view.healing and not self.closed:
            self._heal(self._ahead)
        if view.healing or self.closed:
            return
        if self._leader:
            self._lead(self._leader)
        if self.closed:
            return
        if view.commit is None:
            self._found()
        else:
            self._follow()
            self._end_hopeless_wait()
        self._resend()

    def _lead(self, leader: Leader) -> None:
        view = self._view
        leader.step()
        if leader.decision:
            self._leader = None
            for peer in leader.decision.group:
                if peer in view.live or peer == view.me:
                    self._see(peer, leader.decision)
        elif leader.stage is Stage.VOID:
            self._leader = None
            if view.commit:
                above = max(leader.attempt, view.acceptor.promised)
                self._take_over(Attempt(above.counter + 1, view.me))

    def _take_over(self, attempt: Attempt) -> None:
        self._succession.await_(attempt)
        if attempt.leader == self._view.me:
            self._leader = Leader(self._view, attempt, prepared=False)

    def _follow(self) -> None:
        if self._leader is None:
            attempt = self._succession.successor(exchanging=self._member.attempt is not None)
            if attempt:
                self._take_over(attempt)

    def _found(self) -> None:
        view, founding = self._view, self._founding
        if view.mine is None:
            return
        if self._leader is None and self._member.attempt is None:
            proposal = founding.proposal()
            if proposal:
                self._leader = Leader.founding(view, proposal)
            else:
                failure = founding.failure(self._waiting.since)
                if failure:
                    view.effects.append(Fail(failure))
        elif self._leader is None and self._succession.overdue():
            self._member.drop()
        unknown = founding.expected - len(view.live) - 1
        self._waiting.line(lambda: f"waiting to start with {self._waiting.missing(unknown)}")

    def _end_hopeless_wait(self) -> None:
        view = self._view
        busy = self._member.attempt is not None or (self._leader is not None and self._leader.proposal is not None)
        reason = self._waiting.hopeless(busy=busy)
        if reason is None or view.mine is None:
            return
        finished = view.mine.stats.status.finished
        view.tell(view.live, Withdraw(view.mine.lineage, view.mine.stats.round))
        view.offers.pop(view.me, None)
        view.mine = None
        view.effects.append(End(reason) if finished else Skip(view.round, reason))

    def _resend(self) -> None:
        """Say again what may have been lost."""
        view, leader = self._view, self._leader
        speaking = leader is not None and leader.stage is not Stage.FORMING
        if not (view.mine or speaking) or not view.past(self._retry_at):
            return
        self._retry_at = view.now + RETRY
        view.past(self._retry_at)
        if view.mine:
            view.tell(view.live, view.mine)
        if leader:
            leader.resend()


def _beats(one: Commit, other: Commit) -> bool:
    """Whether who has ``other`` should take ``one``: it is further, or of a heavier lineage."""
    if one.lineage == other.lineage:
        return one.round > other.round
    return (one.weight, other.lineage) > (other.weight, one.lineage)

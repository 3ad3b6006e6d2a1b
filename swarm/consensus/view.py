"""What a peer knows in one round, shared by its two roles: every peer is a member, one of them leads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from swarm.consensus.acceptor import Acceptor
from swarm.consensus.effects import Effect, Notice, Send
from swarm.consensus.forming import Table
from swarm.consensus.order import first_attempt
from swarm.consensus.pace import Pace
from swarm.consensus.rules import RoundRules
from swarm.errors import SwarmError
from swarm.messages import Message, Offer, Proposal
from swarm.records import Attempt, Commit, PeerId

FOUNDING = -1
"""Number of the committed round before the founding one."""


class RoundView:
    """The facts of the current round, and the effects that are waiting to go out."""

    def __init__(self, me: PeerId, incarnation: str, rules: RoundRules, now: float) -> None:
        self.me = me
        self.incarnation = incarnation
        self.rules = rules
        self.now = now
        self.commit: Commit | None = None
        """The last committed round that this peer applied."""
        self.lineage = ""
        """Lineage of that round; empty before the founding one."""
        self.round = FOUNDING + 1
        """Number of the round to come."""
        self.parent = ""
        """Digest of the model that the round to come starts from."""
        self.acceptor = Acceptor(Attempt(0, ""))
        self.live: set[PeerId] = set()
        """Peers of the session that a message would reach, without this one."""
        self.votes = False
        """Whether this process votes in the round to come. One that caught up in the place of another of its name
        does not before it has taken part in a round: its forerunner may have promised and accepted there."""
        self.joined: dict[PeerId, int] = {}
        """The weight that each peer declared on joining; an offer may not claim more."""
        self.mine: Offer | None = None
        """What this peer has on offer."""
        self.healing = False
        """Whether a committed model is being fetched."""
        self.offers: dict[PeerId, Offer] = {}
        self._first_offer_at: float | None = None
        self.last_offer_at = now
        """When the newest offer to this round came."""
        self.exposed: set[tuple[str, int, Attempt]] = set()
        """Attempts that have all of this peer's contribution and may still be decided."""
        self.held: dict[str, Proposal] = {}
        """Merged models assembled in this round and not yet decided, by digest."""
        self.excluded: dict[PeerId, float] = {}
        """Peers left out after a aborted attempt, until when."""
        self.distrusted: dict[PeerId, str] = {}
        """Peers that sent other weights than they offered, with the reason: theirs do not enter this round."""
        self.faults: list[str] = []
        """Why exchanges failed because of this peer itself, since it offered."""
        self.births = 0
        """Lineages that this process has proposed: no two of them may have one id."""
        self.pace = Pace(rules.straggler_timeout, rules.failure_timeout)
        self.absent: set[PeerId] = set()
        """Live peers that were waited for in vain, and have not come to a sync point since: nobody waits for them."""
        self.short = False
        """Whether a sync point has waited for a quorum in vain, and nobody has come since."""
        self.training_since: float | None = None
        """Since when this peer has trained without a break; None where that is not known."""
        self.effects: list[Effect] = []
        self.inbox: deque[Message] = deque()
        """Messages of this peer to itself."""
        self.wake: float | None = None
        """When to look again if nothing arrives before."""

    @property
    def committed(self) -> Commit:
        """The last committed round; only asked for once there is one."""
        if self.commit is None:
            raise SwarmError("no round is committed yet")
        return self.commit

    @property
    def closed(self) -> bool:
        """Whether the closing round is committed."""
        return self.commit is not None and self.commit.closing

    @property
    def mute(self) -> frozenset[PeerId]:
        """Peers that say that they do not vote in the round to come."""
        return frozenset(peer for peer, offer in self.offers.items() if not offer.votes and self.current(offer))

    @property
    def reachable(self) -> frozenset[PeerId]:
        """Peers whose votes a message could get, this one's included."""
        return frozenset(self.live | {self.me}) - self.mute

    def send(self, to: PeerId, message: Message) -> None:
        """Queue a message; one to this peer itself goes to its inbox."""
        if to == self.me:
            self.inbox.append(message)
        else:
            self.effects.append(Send(to, message))

    def tell(self, peers: Iterable[PeerId], message: Message) -> None:
        """Queue a message to each of ``peers`` in a fixed order."""
        for peer in sorted(peers):
            self.send(peer, message)

    def notice(self, text: str, *, loud: bool = False, failed: bool = False) -> None:
        """Queue a line for the user."""
        self.effects.append(Notice(text, loud, failed))

    def enter(self, commit: Commit) -> None:
        """Start the round after ``commit``."""
        founded = self.commit is not None
        self.absent = (self.live | {self.me}) - {*commit.group} - self.offers.keys()
        self.training_since = self.now
        self.commit = commit
        self.lineage, self.round, self.parent = commit.lineage, commit.round + 1, commit.digest
        self.mine = None
        self.acceptor = Acceptor(first_attempt(self.rules.session, self.round, commit.members))
        self.exposed.clear()
        self.held.clear()
        self.excluded.clear()
        self.distrusted.clear()
        self.faults.clear()
        if self._first_offer_at is not None and founded:
            self.pace.arrived(self.last_offer_at - self._first_offer_at)
        self.offers = {peer: offer for peer, offer in self.offers.items() if self.current(offer)}
        self._first_offer_at = self.now if self.offers else None
        self.last_offer_at = self.now

    def current(self, offer: Offer) -> bool:
        """Whether an offer is for the round to come, from the same model."""
        return offer.parent == self.parent and offer.stats.round == self.round and offer.lineage == self.lineage

    def keep(self, peer: PeerId, offer: Offer) -> None:
        """Note an offer; one for a round ahead is kept until this peer gets there."""
        known = self.offers.get(peer) == offer
        self.absent.discard(peer)
        self.offers[peer] = offer
        if self.current(offer) and not known:
            self.last_offer_at = self.now
            if self._first_offer_at is None:
                self._first_offer_at = self.now

    def past(self, moment: float) -> bool:
        """Whether ``moment`` has come; if not, it is remembered as a reason to wake up."""
        if self.now >= moment:
            return True
        self.wake = moment if self.wake is None else min(self.wake, moment)
        return False

    def barred(self) -> frozenset[PeerId]:
        """Peers that are left out for now, after an attempt that failed because of them."""
        return frozenset(peer for peer, until in self.excluded.items() if not self.past(until))

    def table(self) -> Table:
        """What forming a group may count on."""
        barred = self.barred()
        live = frozenset((self.live | {self.me}) - barred)
        offers = {peer: offer for peer, offer in sorted(self.offers.items()) if peer in live and self.current(offer)}
        return Table(
            commit=self.committed,
            offers=offers,
            live=live,
            barred=barred & self.live,
            absent=frozenset(self.absent),
            joined=self.joined,
            distrusted=self.distrusted,
        )

"""What a peer knows in one round, shared by its two roles: every peer is a member, one of them leads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from swarm.messages import Message, Offer, Proposal
from swarm.records import Attempt, Commit, PeerId
from swarm.rounds.acceptor import Acceptor
from swarm.rounds.effects import Effect, Notice, Send
from swarm.rounds.forming import Table
from swarm.rounds.order import first_attempt
from swarm.rounds.pace import Pace
from swarm.rounds.rules import RoundRules

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
        self.acceptor = Acceptor(Attempt(0, ""))
        self.live: set[PeerId] = set()
        """Peers of the session that a message would reach, without this one."""
        self.mine: Offer | None = None
        """What this peer has on offer."""
        self.healing = False
        """Whether a committed model is being fetched."""
        self.offers: dict[PeerId, Offer] = {}
        self._first_offer_at: float | None = None
        self.last_offer_at = now
        """When the newest offer to this round came."""
        self.held: dict[str, Proposal] = {}
        """Merged models assembled in this round and not yet decided, by digest."""
        self.excluded: dict[PeerId, float] = {}
        """Peers left out after a voided attempt, until when."""
        self.pace = Pace(rules.grace, rules.start_timeout)
        self.effects: list[Effect] = []
        self.inbox: deque[Message] = deque()
        """Messages of this peer to itself."""
        self.wake: float | None = None
        """When to look again if nothing arrives before."""

    @property
    def lineage(self) -> str:
        """Lineage of the last committed round; empty before the founding one."""
        return self.commit.lineage if self.commit else ""

    @property
    def round(self) -> int:
        """Number of the round to come."""
        return (self.commit.round if self.commit else FOUNDING) + 1

    @property
    def parent(self) -> str:
        """Digest of the model that the round to come starts from."""
        return self.commit.digest if self.commit else ""

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
        self.commit = commit
        self.mine = None
        self.acceptor = Acceptor(first_attempt(self.rules.session, self.round, commit.members))
        self.held.clear()
        self.excluded.clear()
        if self._first_offer_at is not None:
            self.pace.arrived(self.last_offer_at - self._first_offer_at)
        self.offers = {peer: offer for peer, offer in self.offers.items() if self.current(offer)}
        self._first_offer_at = self.now if self.offers else None
        self.last_offer_at = self.now

    def current(self, offer: Offer) -> bool:
        """Whether an offer is for the round to come, from the same model."""
        return (offer.lineage, offer.stats.round, offer.parent) == (self.lineage, self.round, self.parent)

    def keep(self, peer: PeerId, offer: Offer) -> None:
        """Note an offer; one for a round ahead is kept until this peer gets there."""
        known = self.offers.get(peer) == offer
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

    def table(self) -> Table:
        """What forming a group may count on."""
        assert self.commit is not None
        barred = {peer for peer, until in self.excluded.items() if until > self.now}
        live = frozenset((self.live | {self.me}) - barred)
        offers = {peer: offer for peer, offer in sorted(self.offers.items()) if peer in live and self.current(offer)}
        return Table(commit=self.commit, offers=offers, live=live)

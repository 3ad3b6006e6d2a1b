"""What a peer knows of the current round. The roles share these facts; each has one owner, whose methods change it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from swarm.consensus.effects import EffectQueue
from swarm.consensus.forming import Table
from swarm.consensus.paxos import Acceptor, first_attempt
from swarm.consensus.rules import RoundRules
from swarm.consensus.timing import Pace, Timer
from swarm.messages import Offer
from swarm.records import Attempt, Commit, PeerId


class Position:
    """The last committed round, and the identity of the round after it."""

    def __init__(self) -> None:
        self.commit: Commit | None = None
        """The last committed round that this peer applied."""
        self.lineage = ""
        """Lineage of that round; empty before the founding one."""
        self.round = 0
        """Number of the next round."""
        self.parent = ""
        """Digest of the model that the next round starts from."""

    @property
    def closed(self) -> bool:
        """Whether the closing round is committed."""
        return self.commit is not None and self.commit.closing

    def fits(self, offer: Offer) -> bool:
        """Whether an offer is for the next round, from the same model."""
        return offer.parent == self.parent and offer.stats.round == self.round and offer.lineage == self.lineage

    def enter(self, commit: Commit) -> None:
        """Go to the round after ``commit``."""
        self.commit = commit
        self.lineage, self.round, self.parent = commit.lineage, commit.round + 1, commit.digest


class Presence:
    """Which peers can be reached, and which of them take no part for now."""

    def __init__(self, me: PeerId, timer: Timer) -> None:
        self._me = me
        self._timer = timer
        self.live: set[PeerId] = set()
        """Peers of the session that a message would reach, without this one."""
        self.absent: set[PeerId] = set()
        """Live peers that a round has waited for and that have reached no sync point since: no round waits for them."""
        self.joined: dict[PeerId, int] = {}
        """The weight that each peer declared on joining; an offer may not claim more."""
        self.newest: dict[PeerId, int] = {}
        """The newest version of the protocol that each peer has named."""
        self.distrusted: dict[PeerId, str] = {}
        """Peers that sent other weights than they offered to this round, with the reason."""
        self._excluded: dict[PeerId, float] = {}
        """Until when each peer is excluded after an aborted attempt."""

    @property
    def here(self) -> set[PeerId]:
        """The live peers and this one."""
        return self.live | {self._me}

    def up(self, peer: PeerId, weight: int | None) -> bool:
        """A peer can be reached; whether it could not be reached before. ``weight`` is what it declared, if it did."""
        new = peer not in self.live
        if new:
            self.live.add(peer)
            self.absent.discard(peer)
        if weight is not None:
            self.joined[peer] = weight
        return new

    def down(self, peer: PeerId) -> None:
        """A peer cannot be reached any more."""
        self.live.discard(peer)

    def came(self, peer: PeerId) -> None:
        """A peer has reached a sync point."""
        self.absent.discard(peer)

    def missed(self, peers: Iterable[PeerId]) -> None:
        """The wait for ``peers`` has ended without them."""
        self.absent.update(peers)

    def exclude(self, peers: Iterable[PeerId], until: float) -> None:
        """An attempt was aborted because of ``peers``: they are left out until then."""
        self._excluded.update(dict.fromkeys(peers, until))

    def excluded(self) -> frozenset[PeerId]:
        """Peers that are left out for now."""
        return frozenset(peer for peer, until in self._excluded.items() if not self._timer.past(until))

    def distrust(self, reasons: Mapping[PeerId, str]) -> None:
        """These peers sent other weights than they offered: they contribute nothing to this round."""
        self.distrusted.update(reasons)

    def new_round(self, took_part: Collection[PeerId]) -> None:
        """A round begins; of those that can be reached, all that are not in ``took_part`` missed the last one."""
        self.absent = self.here - set(took_part)
        self._excluded.clear()
        self.distrusted.clear()


class Offers:
    """The offers to the next round, this peer's included."""

    def __init__(self, me: PeerId, position: Position, presence: Presence, timer: Timer) -> None:
        self._me = me
        self._position = position
        self._presence = presence
        self._timer = timer
        self._offers: dict[PeerId, Offer] = {}
        self._current: dict[PeerId, Offer] = {}
        """Those to the next round, by name."""
        self._first_at: float | None = None
        self.mine: Offer | None = None
        """The offer of this peer that waits for a round."""
        self.last_at = timer.now
        """When the newest offer to this round came."""

    @property
    def peers(self) -> frozenset[PeerId]:
        """Peers of which an offer is known, also one for another round."""
        return frozenset(self._offers)

    @property
    def offered(self) -> bool:
        """Whether a peer has offered to the next round."""
        return bool(self._current)

    @property
    def current(self) -> frozenset[PeerId]:
        """Peers that have offered to the next round."""
        return frozenset(self._current)

    @property
    def reachable(self) -> frozenset[PeerId]:
        """Peers whose votes can be had, this one's included: live, and no offer says that they do not vote."""
        without = {peer for peer, offer in self._current.items() if not offer.votes}
        return frozenset(self._presence.here - without)

    def of(self, peer: PeerId) -> Offer | None:
        """The last offer of a peer, also one for another round."""
        return self._offers.get(peer)

    def make(self, offer: Offer) -> None:
        """This peer offers."""
        self.mine = offer
        self.keep(self._me, offer)

    def keep(self, peer: PeerId, offer: Offer) -> None:
        """Store an offer; one for a later round is kept until this peer gets there."""
        self._presence.came(peer)
        if self._offers.get(peer) == offer:
            return
        self._offers[peer] = offer
        self._select()
        if peer in self._current:
            self.last_at = self._timer.now
            if self._first_at is None:
                self._first_at = self._timer.now

    def discard(self, peer: PeerId) -> None:
        """A peer has withdrawn its offer, or cannot be reached any more."""
        if self._offers.pop(peer, None):
            self._select()

    def withdraw(self) -> None:
        """This peer takes its own offer back."""
        self.discard(self._me)
        self.mine = None

    def spread(self) -> float | None:
        """Seconds between the first and the last offer to this round; None where there was none."""
        return None if self._first_at is None else self.last_at - self._first_at

    def new_round(self) -> None:
        """A round begins: only offers to it are kept."""
        self.mine = None
        self._select()
        self._offers = dict(self._current)
        self._first_at = self._timer.now if self._offers else None
        self.last_at = self._timer.now

    def _select(self) -> None:
        fitting = ((peer, offer) for peer, offer in self._offers.items() if self._position.fits(offer))
        self._current = dict(sorted(fitting))

    def table(self, commit: Commit) -> Table:
        """What a leader of the round after ``commit`` goes by when it forms a group."""
        presence = self._presence
        excluded = presence.excluded()
        live = frozenset(presence.here - excluded)
        return Table(
            commit=commit,
            offers={peer: offer for peer, offer in self._current.items() if peer in live},
            live=live,
            excluded=excluded & presence.live,
            absent=frozenset(presence.absent),
            joined=presence.joined,
            distrusted=presence.distrusted,
        )


class RoundState:
    """The shared facts of one peer. The attributes themselves never change."""

    def __init__(self, me: PeerId, incarnation: str, rules: RoundRules, now: float) -> None:
        self.me = me
        self.incarnation = incarnation
        self.rules = rules
        self.timer = Timer(now)
        self.pace = Pace(rules.straggler_timeout, rules.failure_timeout)
        self.effects = EffectQueue(me)
        self.position = Position()
        self.presence = Presence(me, self.timer)
        self.offers = Offers(me, self.position, self.presence, self.timer)
        self.acceptor = Acceptor(Attempt(0, ""))

    def protocol(self, peers: Iterable[PeerId]) -> int:
        """The newest version of the protocol that this peer and all of ``peers`` speak; 0 if one was never met."""
        ours, known = self.rules.versions, self.presence.newest
        lowest = min((known.get(peer, 0) for peer in peers if peer != self.me), default=ours.newest)
        return max(min(lowest, ours.newest), ours.oldest)

    def enter(self, commit: Commit) -> None:
        """Begin the round after ``commit``."""
        spread, founded = self.offers.spread(), self.position.commit is not None
        if spread is not None and founded:
            self.pace.arrived(spread)
        self.pace.training_from(self.timer.now)
        self.presence.new_round({*commit.group} | self.offers.peers)
        self.position.enter(commit)
        self.acceptor.new_round(first_attempt(self.rules.session, self.position.round, commit.members))
        self.offers.new_round()

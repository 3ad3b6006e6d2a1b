"""What a peer knows of the current round. The roles share these facts; each has one owner, whose methods change it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

from swarm.certification.statements import offer_statement, record_hash
from swarm.consensus.effects import EffectQueue
from swarm.consensus.forming import Table
from swarm.consensus.paxos import Acceptor, first_attempt
from swarm.consensus.rules import RoundRules
from swarm.consensus.strikes import NOBODY, Strikes
from swarm.consensus.timing import Pace, Timer
from swarm.messages import Offer, Proposal
from swarm.quorums import is_quorum
from swarm.records import Attempt, Commit, Credential, PeerId, Proof, RecordKind

MOST_RETURNS = 3
"""How often a peer may come, without taking part in a round, until nobody waits for it before it offers."""


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
        self.previous = ""
        """Hash of the record of that round."""

    @property
    def members(self) -> tuple[PeerId, ...]:
        """The membership, which decides the next round; empty before the founding one."""
        return self.commit.members if self.commit else ()

    @property
    def closed(self) -> bool:
        """Whether the closing round is committed."""
        return self.commit is not None and self.commit.closing

    def fits(self, offer: Offer) -> bool:
        """Whether an offer is for the next round, from the same model."""
        same = offer.lineage == self.lineage and offer.parent == self.parent
        return same and offer.previous == self.previous and offer.stats.round == self.round

    def enter(self, commit: Commit) -> None:
        """Go to the round after ``commit``."""
        self.commit = commit
        self.lineage, self.round, self.parent = commit.lineage, commit.round + 1, commit.digest
        self.previous = record_hash(commit)


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
        self.credentials: dict[PeerId, Credential] = {}
        """Of the key with which each peer signs, as it gave it on joining."""
        self.proven: dict[PeerId, Proof] = {}
        """Peers that have signed two results of one round: they vote and take part no more."""
        self.newest: dict[PeerId, int] = {}
        """The newest version of the protocol that each peer has named."""
        self.distrusted: dict[PeerId, str] = {}
        """Peers that sent other weights than they offered to this round, with the reason."""
        self.disputed: set[PeerId] = set()
        """Those of them that members do not let this peer leave out, as it has said."""
        self.overdue: frozenset[PeerId] = frozenset()
        """Peers that have trained on for so long that this one does not wait for them any more; most must agree."""
        self.strikes = Strikes(timer)
        self._returns: Counter[PeerId] = Counter()
        """How often each peer has come since it has taken part in a round."""
        self._came_at: dict[PeerId, float] = {}
        """When each live peer has reached a sync point last, or has joined since, in time awake."""

    @property
    def here(self) -> set[PeerId]:
        """The live peers and this one."""
        return self.live | {self._me}

    def up(self, peer: PeerId, weight: int | None, credential: Credential | None) -> bool:
        """A peer can be reached; whether it could not be reached before. The rest is what it declared, if it did."""
        new = peer not in self.live
        self._returns[peer] += new
        if credential is not None:
            self.credentials[peer] = credential
        if new:
            self.live.add(peer)
            if self._returns[peer] > MOST_RETURNS:
                self.absent.add(peer)
            else:
                self.absent.discard(peer)
                self._came_at[peer] = self._timer.awake
        if weight is not None:
            self.joined[peer] = weight
        return new

    def down(self, peer: PeerId) -> None:
        """A peer cannot be reached any more; what it offers when it is back is judged anew."""
        self.live.discard(peer)
        self.distrusted.pop(peer, None)

    def came(self, peer: PeerId) -> None:
        """A peer has reached a sync point."""
        self.absent.discard(peer)
        self._came_at[peer] = self._timer.awake

    def silent(self, seconds: float) -> set[PeerId]:
        """Live peers that have reached no sync point for so long, the barred and the removed left out."""
        waited_for = self.counted - {self._me}
        return {
            peer for peer in waited_for if self._timer.past(self._came_at.get(peer, 0.0) + self._timer.slept + seconds)
        }

    def missed(self, peers: Iterable[PeerId]) -> None:
        """The wait for ``peers`` has ended without them."""
        self.absent.update(peers)

    @property
    def counted(self) -> set[PeerId]:
        """The peers that are here and may take part in rounds."""
        barred = self.strikes.barred()
        if not barred and not self.proven:
            return self.here
        return self.here - barred - self.proven.keys()

    def distrust(self, reasons: Mapping[PeerId, str]) -> None:
        """These peers sent other weights than they offered: they contribute nothing to this round."""
        self.distrusted.update(reasons)

    def new_round(self, group: Collection[PeerId], offered: Collection[PeerId]) -> None:
        """A round begins after one of ``group``; who can be reached and has not offered either has missed that one."""
        self.absent = self.here - set(group) - set(offered)
        self.strikes.new_round(group)
        for peer in group:
            self._returns.pop(peer, None)
        self.distrusted.clear()
        self.disputed.clear()


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
        self._came: dict[PeerId, float] = {}
        """When peers have offered to this round, also those that have changed their offers, or gone since."""
        self._first_at: float | None = None
        self.mine: Offer | None = None
        """The offer of this peer that waits for a round."""
        self.last_at = timer.now
        """When the last peer came with an offer to this round; one that changes its offer does not come again."""

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
    def voting(self) -> frozenset[PeerId]:
        """The live peers and this one, except those whose offer says that they do not vote."""
        without = {peer for peer, offer in self._current.items() if not offer.votes}
        return frozenset(self._presence.here - without)

    def among(self, peers: Container[PeerId]) -> dict[PeerId, Offer]:
        """The offers to the next round of some peers, by name."""
        return {peer: offer for peer, offer in self._current.items() if peer in peers}

    def of(self, peer: PeerId) -> Offer | None:
        """The last offer of a peer, also one for another round."""
        return self._offers.get(peer)

    def make(self, offer: Offer) -> None:
        """This peer offers."""
        self.mine = offer
        self.keep(self._me, offer)

    def keep(self, peer: PeerId, offer: Offer) -> None:
        """Store an offer; one for a later round is kept until this peer gets there.

        Only one for the next round says that its peer has come: offers of other rounds can be repeated for ever.
        """
        if self._position.fits(offer):
            self._presence.came(peer)
        before = self._offers.get(peer)
        if before == offer:
            return
        self._offers[peer] = offer
        self._select()
        if peer in self._current and peer not in self._came:
            self._came[peer] = self._timer.now
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

    def last_to_come(self, peers: Container[PeerId], since: float) -> PeerId | None:
        """Who of ``peers`` came last with an offer to this round, and after ``since``; None if nobody did."""
        came = {peer: at for peer, at in self._came.items() if peer in peers and at > since and peer != self._me}
        return max(came, key=lambda peer: (came[peer], peer), default=None)

    def spread(self) -> float | None:
        """Seconds between the first and the last offer to this round; None where there was none."""
        return None if self._first_at is None else self.last_at - self._first_at

    def new_round(self) -> None:
        """A round begins: only offers to it are kept."""
        self.mine = None
        self._select()
        self._offers = dict(self._current)
        self._came = dict.fromkeys(self._current, self._timer.now)
        for peer in self._current:
            self._presence.came(peer)
        self._first_at = self._timer.now if self._offers else None
        self.last_at = self._timer.now

    def _select(self) -> None:
        fitting = ((peer, offer) for peer, offer in self._offers.items() if self._position.fits(offer))
        self._current = dict(sorted(fitting))


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
        self.first_attempt = Attempt(0, "")
        """The lowest attempt of the round."""
        self.acceptor = Acceptor(self.first_attempt)
        if rules.weight is not None:
            self.presence.joined[me] = rules.weight
        self.verifier = rules.verifier
        self.credential = rules.credential or Credential(me, rules.signer.key)
        self.suspended = False
        """Whether this process does not know what it has voted in the current round, as it comes from elsewhere."""
        self._entered_at = now
        """When the round before this one was committed here."""
        self._verified: dict[PeerId, Offer] = {}
        """The last offer of each peer whose signature was checked."""

    @property
    def votes(self) -> bool:
        """Whether this process may vote.

        One that has replaced another one of its name may not before it has taken part in a round: the earlier one may
        have promised and accepted in this round, and the others know its key.
        """
        commit = self.position.commit
        return commit is not None and not self.suspended and commit.key_of(self.me) == self.rules.signer.key

    def excluded(self) -> frozenset[PeerId]:
        """Peers that are left out of the next attempt. Where the rest decides nothing, that is only a short pause."""
        presence = self.presence
        excluded = presence.strikes.excluded()
        if not excluded:
            return excluded
        here = presence.here - presence.proven.keys()
        rest = here - excluded
        if self._enough(rest):
            return excluded
        paused, given_up = presence.strikes.paused(), self.given_up
        if given_up:
            return paused | given_up
        # Where honest peers have strikes too, the rest goes on with those that have the fewest.
        back = presence.strikes.fewest_first(excluded & here)
        for place, peer in enumerate(back, 1):
            rest.add(peer)
            if self._enough(rest):
                return paused.union(back[place:])
        return paused

    def _enough(self, rest: AbstractSet[PeerId]) -> bool:
        """Whether these peers may go on without the others."""
        return len(rest) >= self.rules.min_peers and self._decide(rest)

    def _decide(self, rest: AbstractSet[PeerId]) -> bool:
        """Whether these peers can decide a round, or begin a lineage where too many have restarted to vote."""
        members, voting = self.position.members, self.offers.voting
        if not members or self.quorum(members, rest & voting):
            return True
        return self.quorum(members, rest) and not self.quorum(members, voting)

    @property
    def given_up(self) -> frozenset[PeerId]:
        """Peers that count as gone though nothing is decided without them: the rest may begin a lineage of its own.

        Only where the round has lasted as long as a silent peer is waited for: strikes alone may be those of a network.
        """
        presence, members, least = self.presence, self.position.members, self.rules.min_peers
        removed = presence.strikes.removed()
        lasted = self._entered_at + self.timer.slept + self.pace.longest_silence
        if not removed or 2 * least > len(members) or not self.timer.past(lasted):
            return NOBODY
        rest = presence.here - presence.proven.keys() - removed
        return NOBODY if len(rest) < least or self.quorum(members, rest) else removed

    @property
    def reachable(self) -> frozenset[PeerId]:
        """Peers whose votes can be had, this one's included: live, and no offer says that they do not vote."""
        return self.offers.voting - self.presence.proven.keys() - self.given_up

    def table(self, commit: Commit) -> Table:
        """What a leader of the round after ``commit`` goes by when it forms a group."""
        presence, excluded = self.presence, self.excluded()
        here = presence.here - presence.proven.keys()
        live = frozenset(here - excluded - self._forgone())
        # Nobody waits for who is barred; a peer that is only paused is no longer barred.
        return Table(
            commit=commit,
            offers=self.offers.among(live),
            live=live,
            excluded=excluded & (presence.counted | presence.strikes.paused() & here),
            absent=frozenset(presence.absent),
            joined=presence.joined,
            left_out=presence.distrusted,
            removed=frozenset(presence.proven),
        )

    def _forgone(self) -> AbstractSet[PeerId]:
        """Those overdue here that most of the peers with an offer do not wait for either."""
        overdue = self.presence.overdue
        if not overdue:
            return overdue
        offers = self.offers.among(self.presence.here).values()
        return {peer for peer in overdue if 2 * sum(peer in offer.gone for offer in offers) > len(offers)}

    @property
    def leading(self) -> set[PeerId]:
        """Peers that may lead: those that are not barred, or all where these decide nothing."""
        presence = self.presence
        counted = presence.counted
        return counted if self._decide(counted) else presence.here - presence.proven.keys()

    def quorum(self, members: Iterable[PeerId], present: Iterable[PeerId]) -> bool:
        """Whether those of ``members`` who are ``present`` decide a round."""
        return is_quorum({*members} - self.presence.proven.keys(), present, self.rules.tolerated_liars)

    def sign_offer(self, offer: Offer) -> Offer:
        """The offer of this peer as it is sent: what it says of others, and the signature, are added."""
        commit, signer = self.position.commit, self.rules.signer
        presence = self.presence
        there = presence.here - presence.strikes.removed() - presence.proven.keys() - presence.overdue
        gone = tuple(sorted({*commit.members} - there)) if commit else ()
        statement = offer_statement(
            self.rules.session, offer.lineage, self.position.previous, offer.stats, gone, signer.key
        )
        signed = replace(
            offer, previous=self.position.previous, gone=gone, key=signer.key, signature=signer.sign(statement)
        )
        self._verified[self.me] = signed
        return signed

    def is_signed(self, offer: Offer) -> bool:
        """Whether the owner of the key of an offer has signed it."""
        if self._verified.get(offer.stats.peer) == offer:
            return True
        statement = offer_statement(
            self.rules.session, offer.lineage, offer.previous, offer.stats, offer.gone, offer.key
        )
        signed = self.rules.signer.verify(offer.key, statement, offer.signature)
        if signed:
            self._verified[offer.stats.peer] = offer
        return signed

    def credentials_of(self, keys: Mapping[PeerId, str]) -> tuple[Credential, ...]:
        """The credentials of these keys, of peers that were met, in the order of their names."""
        known = {**self.presence.credentials, self.me: self.credential}
        return tuple(known[peer] for peer, key in sorted(keys.items()) if peer in known and known[peer].key == key)

    def voter_keys(self, proposal: Proposal) -> dict[PeerId, str]:
        """Who decides on a proposal, with the key that each signs with."""
        commit = self.position.commit
        if proposal.kind is RecordKind.ROUND and commit:
            return {peer: commit.key_of(peer) for peer in proposal.voters}
        return dict(zip(proposal.members, proposal.keys, strict=True))

    def key_of(self, peer: PeerId) -> str:
        """The key that a peer has given on joining; empty if it is not known."""
        credential = self.credential if peer == self.me else self.presence.credentials.get(peer)
        return credential.key if credential else ""

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
        # Not those that have offered to any other round: such offers can be repeated for ever.
        offered = self.offers.current
        self.position.enter(commit)
        self._entered_at = self.timer.awake
        self.first_attempt = first_attempt(self.rules.session, self.position.round, commit.members)
        self.acceptor.new_round(self.first_attempt)
        self.offers.new_round()
        self.presence.new_round(commit.group, offered | self.offers.current)
        self._verified = {peer: offer for peer, offer in self._verified.items() if self.position.fits(offer)}

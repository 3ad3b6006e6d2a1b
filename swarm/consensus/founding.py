"""The founding round: peers that have no model in common yet agree on the initial weights of one of them."""

from __future__ import annotations

from collections.abc import Mapping

from swarm.consensus.effects import Fail
from swarm.consensus.paxos import leader_order, new_lineage
from swarm.consensus.rules import RoundRules
from swarm.consensus.state import RoundState
from swarm.errors import ConfigurationError, ModelError
from swarm.messages import Entry, Proposal
from swarm.records import Attempt, ContributionStats, Origin, PeerId, PeerStatus, RecordKind

OTHERS_MAY_COME = 5.0
"""Seconds for which a refused peer waits for compatible ones where nothing tells how many there may be."""


class Founding:
    """Decides when enough peers have come, and which of them gives its initial weights to all."""

    def __init__(self, state: RoundState) -> None:
        self._state = state
        self._tries = 0
        self._quorum_since: float | None = None
        self._present = 0
        """The most peers that had offered since there were enough."""
        self._refused_at: float | None = None
        self._departed: dict[PeerId, ContributionStats] = {}
        """The last offers of peers that have left."""
        self._refused: set[PeerId] = set()
        """Peers of another model or other settings; they are not waited for."""
        self._awaited: PeerId | None = None
        """Who is to propose, while it does not."""
        self._awaited_since = 0.0
        self._joined: Attempt | None = None
        """The last attempt that this peer has taken part in."""
        self._silences = 0
        """How often the peer that was to propose did not."""
        self._ended: set[PeerId] = set()
        """Peers that have ended and will not come."""

    @property
    def expected(self) -> int:
        """Peers to wait for; 0 where unknown."""
        rules = self._state.rules
        return rules.expected if rules.require_all else max(rules.expected - self._out, 0)

    @property
    def _out(self) -> int:
        """How many peers will not come."""
        return len(self._refused | self._ended)

    @property
    def unmet(self) -> list[PeerId]:
        """Names of expected peers that cannot be reached, as far as names are known."""
        state = self._state
        return sorted(state.rules.members - state.presence.here - self._refused - self._ended - self._departed.keys())

    def refuse(self, peer: PeerId) -> None:
        """A peer has another model or other settings: it is not waited for. One that nobody expects changes nothing."""
        members = self._state.rules.members
        if members and peer not in members:
            return
        if self._refused_at is None:
            self._refused_at = self._state.timer.now
        self._refused.add(peer)

    def forgo(self, peer: PeerId) -> None:
        """A peer has ended before the start: it is not waited for."""
        if peer not in self._ended and self._state.position.commit is None:
            self._ended.add(peer)
            self._state.effects.notice(f"{peer} has ended before the start: it is not waited for")

    def welcome(self, peer: PeerId) -> None:
        """A compatible peer can be reached, which may have been refused or lost before."""
        self._refused.discard(peer)
        self._ended.discard(peer)
        self._departed.pop(peer, None)
        if not self._refused:
            self._refused_at = None

    def depart(self, peer: PeerId) -> None:
        """A peer has left: its last offer still says whether a start with it made sense."""
        offer = self._state.offers.of(peer)
        if self._state.position.commit is None and offer:
            self._departed[peer] = offer.stats

    def look(self, since: float) -> Proposal | Fail | None:
        """The founding group, if this peer has to propose it and may now, or why the session cannot start any more.

        ``since`` is when this peer offered.
        """
        offers = self._gathered()
        first = self._first(offers)
        self._await(None if first == self._state.me else first)
        proposal = self._proposal(offers) if first == self._state.me else None
        return proposal or self._failure(offers, since)

    def joined(self, proposal: Proposal) -> None:
        """The peer that was to propose has done so. One that leads attempt after attempt is left out for a while."""
        if proposal.attempt != self._joined:
            self._awaited, self._joined = None, proposal.attempt
            self._state.presence.strikes.leads(proposal.attempt)

    def _first(self, offers: Mapping[PeerId, ContributionStats]) -> PeerId | None:
        """Who is to propose a group of those who have offered; None where they cannot begin."""
        if not offers or _useless(offers, self._state.rules):
            return None
        finite = [peer for peer, stats in offers.items() if stats.finite]
        sound = [peer for peer in finite if not offers[peer].nan_state] or finite
        return leader_order(self._state.rules.session, 0, sound)[0]

    def _await(self, peer: PeerId | None) -> None:
        """Leave out a peer, for a while, that is to propose and does not."""
        state = self._state
        if peer is None or peer != self._awaited:
            self._awaited, self._awaited_since = peer, state.timer.now
            return
        patience = state.pace.first_straggler_timeout + state.rules.failure_timeout
        if state.timer.past(self._awaited_since + patience):
            self._silences += 1
            text = f"round 0: {peer}, which is to propose it, did not within {patience:.3g} s"
            state.effects.notice(text, loud=True, sender=peer)
            state.presence.strikes.strike(Attempt(-1 - self._silences, peer), peer)
            self._awaited = None

    def _failure(self, offers: Mapping[PeerId, ContributionStats], since: float) -> Fail | None:
        rules, timer, live = self._state.rules, self._state.timer, self._state.presence.live
        there = ", ".join(sorted(live)) or f"nobody else of session {rules.session}"
        useless = _useless(offers or self._all_that_offered(), rules)
        if useless:
            return useless
        if self._refused_at is not None and len(live) + 1 < rules.min_peers:
            # What some peers say ends the start only where the rest is too few. Without identities nobody knows how
            # many there are, nor who says it.
            rest = self.expected if rules.expected else rules.possible - self._out
            known = rules.expected or rules.possible
            if rest < rules.min_peers if known else timer.past(self._refused_at + OTHERS_MAY_COME):
                return Fail(f"incompatible peers: {', '.join(sorted(self._refused))}; compatible: {there}")
        too_few = rules.expected > 0 and self.expected < rules.min_peers
        if self._ended and not offers and (rules.require_all or too_few):
            why = "require_members is set" if rules.require_all else f"min_peers={rules.min_peers} are needed"
            return Fail(f"{', '.join(sorted(self._ended))} ended before the start, and {why}; there: {there}")
        if rules.require_all and self._refused_at is not None and timer.past(self._refused_at + OTHERS_MAY_COME):
            return Fail(f"incompatible peers: {', '.join(sorted(self._refused))}, and require_members is set")
        if not timer.past(since + rules.start_timeout):
            return None
        if rules.require_all and not offers:
            return Fail(
                f"{self._absence()} within start_timeout={rules.start_timeout:g} s, and require_members is set; "
                f"there: {there}"
            )
        if offers:
            return Fail(f"the first round did not commit within start_timeout={rules.start_timeout:g} s")
        return Fail(
            f"{len(live) + 1} of the {rules.min_peers} peers needed (min_peers) were here after "
            f"start_timeout={rules.start_timeout:g} s; there: {there}"
        )

    def _absence(self) -> str:
        """Who of all that are required keeps the session from starting, and by what."""
        state, expected = self._state, self._state.rules.expected
        missing = expected - len(state.presence.here)
        if self.unmet or missing > 0:
            return f"{', '.join(self.unmet) or f'{missing} of the {expected} expected'} did not come"
        return f"{', '.join(sorted(state.presence.here - self._offers().keys()))} came, and did not offer its weights"

    def _proposal(self, offers: Mapping[PeerId, ContributionStats]) -> Proposal | None:
        state = self._state
        attempt = Attempt(self._tries, state.me)
        self._tries += 1
        lineage = new_lineage(state.rules.session, state.me, state.incarnation, attempt.counter)
        signed = {peer: offer for peer in offers if (offer := state.offers.of(peer)) and state.is_signed(offer)}
        if len(signed) < len(offers):
            for peer in offers.keys() - signed.keys():
                state.offers.discard(peer)
            return None
        return Proposal(
            lineage=lineage,
            round=0,
            attempt=attempt,
            parent="",
            voters=tuple(offers),
            members=tuple(offers),
            entries=tuple(
                Entry(peer, int(peer == state.me), PeerStatus.TRAINING, moments=peer == state.me and stats.moments)
                for peer, stats in offers.items()
            ),
            sync=state.rules.first_sync,
            closing=False,
            protocol=state.protocol(offers),
            kind=RecordKind.FOUNDING,
            keys=tuple(offer.key for offer in signed.values()),
            rule=state.rules.merge_rule,
            settings=state.rules.settings,
            credentials=state.credentials_of({peer: offer.key for peer, offer in signed.items()}),
            origins=(Origin(lineage, 0, majority=True),),
            offers=tuple(signed.values()),
        )

    def _offers(self) -> dict[PeerId, ContributionStats]:
        """What live peers offer to the founding round, in the order of their names."""
        state, presence = self._state, self._state.presence
        # Strikes leave nobody out for long here: peers that have heard of other failures would each wait for another
        # peer to propose.
        there = presence.here - presence.proven.keys() - presence.strikes.paused()
        return {peer: offer.stats for peer, offer in state.offers.among(there).items()}

    def _all_that_offered(self) -> Mapping[PeerId, ContributionStats]:
        """The offers of live peers and of those that have left, if no other is waited for; else nothing.

        Of peers that cannot train together, the one that finds out first leaves first.
        """
        offers = dict(sorted({**self._departed, **self._offers()}.items()))
        complete = len(offers) >= max(self.expected, self._state.rules.min_peers)
        return offers if complete and self._state.presence.here <= offers.keys() else {}

    def _gathered(self) -> Mapping[PeerId, ContributionStats]:
        """The offers to found a session on, in the order of names; empty while others are waited for."""
        state, rules, offers = self._state, self._state.rules, self._offers()
        if len(offers) < rules.min_peers or state.me not in offers:
            self._quorum_since, self._present = None, 0
            return {}
        # The time does not begin anew with the return of one that is away again and again.
        if self._quorum_since is None or len(offers) > self._present:
            self._quorum_since = state.timer.now
        self._present = max(self._present, len(offers))
        out = state.presence.strikes.struck() & state.presence.here
        everyone = state.presence.here - out <= offers.keys() and len(offers.keys() | out) >= self.expected
        if rules.require_all:
            return offers if everyone and rules.members <= offers.keys() else {}
        wait = state.pace.first_straggler_timeout
        if rules.seeks and rules.expected == 0 and offers.keys() == {state.me}:
            # No peer has answered yet: a session may be running already.
            everyone, wait = False, min(wait, rules.failure_timeout)
        return offers if everyone or state.timer.past(self._quorum_since + wait) else {}


def _useless(offers: Mapping[PeerId, ContributionStats], rules: RoundRules) -> Fail | None:
    """Why these peers cannot train together; None where they can, or where there are none."""
    if not offers:
        return None
    if not any(stats.weight for stats in offers.values()):
        if rules.by_samples:
            return Fail(
                f"samples is 0 at {', '.join(offers)}: nobody would contribute, so nothing would be merged",
                ConfigurationError,
            )
        return Fail(
            f"node_weightage is 0 at {', '.join(offers)}: nobody would contribute, so nothing would be merged;"
            " give one of them a node_weightage from 1 to 100",
            ConfigurationError,
        )
    if not any(stats.finite for stats in offers.values()):
        return Fail(
            f"the weights of {', '.join(offers)} hold NaN or infinity, and no other peer is there to start from:"
            " repair the initial weights of one of them, such as the checkpoint that it loads;"
            " a mask of infinities belongs in a buffer or in a frozen parameter",
            ModelError,
        )
    return None

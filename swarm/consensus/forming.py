"""Whom a leader puts into a group, and when: pure functions of what it knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from swarm.consensus.norms import absurd
from swarm.consensus.rules import RoundRules
from swarm.consensus.shares import capped
from swarm.merge.steps import step_factors
from swarm.messages import Entry, Offer
from swarm.quorums import is_quorum
from swarm.records import Best, Commit, ContributionStats, PeerId, PeerStatus, Refusal
from swarm.sync.base import Signal
from swarm.text import MAX_SHOWN, printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What a leader sees when it decides whether to close the group."""

    commit: Commit
    offers: Mapping[PeerId, Offer]
    """Offers to this round, from peers that are live and not excluded."""
    live: frozenset[PeerId]
    """Peers it could wait for, itself included, the excluded left out."""
    excluded: frozenset[PeerId] = frozenset()
    """Live peers that are excluded for now."""
    absent: frozenset[PeerId] = frozenset()
    """Live peers that a round has waited for and that have reached no sync point since."""
    joined: Mapping[PeerId, int] = field(default_factory=dict)
    """The weight that peers declared on joining."""
    left_out: Mapping[PeerId, str] = field(default_factory=dict)
    """Peers whose contribution to this round is left out for another reason than its offer, with that reason."""
    removed: frozenset[PeerId] = frozenset()
    """Members that are removed from the membership."""

    @property
    def voters(self) -> frozenset[PeerId]:
        """Peers that offered and may vote."""
        return frozenset(peer for peer, offer in self.offers.items() if offer.votes)

    @property
    def all_finished(self) -> bool:
        """Whether every live peer has offered and has finished its training."""
        finished = all(offer.stats.status.finished for offer in self.offers.values())
        return finished and self._all_offered

    @property
    def done(self) -> bool:
        """Whether every live peer has offered and has trained its own epochs, and some train on for the others."""
        statuses = {offer.stats.status for offer in self.offers.values()}
        return PeerStatus.EXTENDED in statuses and PeerStatus.TRAINING not in statuses and self._all_offered

    @property
    def members(self) -> frozenset[PeerId]:
        """The membership after this round: the group, and every member of before that most of the group can reach."""
        gone = (peer for offer in self.offers.values() for peer in offer.gone)
        count = Counter(gone)
        lost = {peer for peer, times in count.items() if 2 * times > len(self.offers)}
        return frozenset(self.offers) | ({*self.commit.members} - lost - self.removed)

    @property
    def whole(self) -> bool:
        """Whether the group is the whole membership after this round, so that the session may end with it."""
        return self.members == self.offers.keys()

    @property
    def _all_offered(self) -> bool:
        return self.live <= set(self.offers) and not self.excluded and self.whole


@dataclass(frozen=True, slots=True)
class Group:
    """A group to be proposed."""

    entries: tuple[Entry, ...]
    members: tuple[PeerId, ...]
    weight: int
    """Weight of all contributions together."""
    refused: tuple[Refusal, ...]
    """Contributions left out."""


def quorum(table: Table, rules: RoundRules) -> bool:
    """Whether those who offered are enough for ``min_peers`` and for a majority of the membership."""
    members = {*table.commit.members} - table.removed
    return len(table.offers) >= rules.min_peers and is_quorum(members, table.voters, rules.tolerated_liars)


def may_fork(table: Table, rules: RoundRules) -> bool:
    """Whether those who offered may begin a lineage of their own where no majority of the membership votes.

    Either ``min_peers`` allows it to a minority, or a majority is here of which too many have restarted to vote: then
    no other peers can decide a round either.
    """
    restarted = is_quorum(table.commit.members, table.offers, rules.tolerated_liars)
    return len(table.offers) >= rules.min_peers and (restarted or 2 * rules.min_peers <= len(table.commit.members))


def complete(table: Table) -> bool:
    """Whether no live peer is left to wait for."""
    return table.live - table.absent <= set(table.offers)


def worth_merging(table: Table) -> bool:
    """Whether a round is needed: a peer still trains, or all have finished and the session has to close."""
    return table.all_finished or any(not offer.stats.status.finished for offer in table.offers.values())


def with_refusals(table: Table, rules: RoundRules) -> Table:
    """The table of a leader that leaves out what its own checks do not accept, such as those of plugins."""
    reasons = {
        peer: printable(reason, MAX_SHOWN)  # as it travels, since it is part of the record
        for peer, offer in table.offers.items()
        if _weight(offer, table, rules)[0] and (reason := rules.refusal(offer.stats))
    }
    return replace(table, left_out={**table.left_out, **reasons}) if reasons else table


def leaves_out_too_much(
    left_out: AbstractSet[PeerId], doubted: AbstractSet[PeerId], contributors: AbstractSet[PeerId]
) -> bool:
    """Whether members refuse what a leader leaves out, since it would choose by itself what is merged.

    Args:
        left_out: peers whose contributions it leaves out. If these are all, the last model stands, which harms nobody.
        doubted: those of them for which it has only its own judgement.
        contributors: who contributes otherwise.
    """
    return bool(contributors - left_out) and 2 * len(doubted & contributors) >= len(contributors)


def disputed(table: Table, rules: RoundRules, leader: PeerId) -> AbstractSet[PeerId]:
    """Peers whose contributions the leader does not merge, and that members do not let it leave out either."""
    left_out = table.left_out.keys() & table.offers.keys()
    if not left_out:
        return left_out
    entries = form(replace(table, left_out={}), rules).entries
    contributors = {entry.peer for entry in entries if entry.weight}
    return left_out if leaves_out_too_much(left_out, left_out - {leader}, contributors) else frozenset()


def form(table: Table, rules: RoundRules) -> Group:
    """The group of all who offered, with the weight that each gets; every member computes the same one."""
    refused: list[Refusal] = []
    weights: dict[PeerId, int] = {}
    for peer, offer in table.offers.items():
        weights[peer], reason = _weight(offer, table, rules)
        if reason:
            refused.append(Refusal(peer, reason))
    given = [offer.stats for peer, offer in table.offers.items() if weights[peer]]
    factors: dict[PeerId, float] = {}
    if rules.normalize_steps:
        made = step_factors([weights[stats.peer] for stats in given], [stats.steps for stats in given])
        factors = dict(zip((stats.peer for stats in given), made, strict=True))
    for peer, reason in absurd(given, factors).items():
        weights[peer] = 0
        refused.append(Refusal(peer, reason))
    statuses = {peer: offer.stats.status for peer, offer in table.offers.items()}
    if not any(weights[peer] and _has_news(offer.stats) for peer, offer in table.offers.items()):
        # What finished peers hold is merged already: merging it again would only move the model, or undo the steps of
        # peers that train and contribute nothing.
        weights = dict.fromkeys(weights, 0)
    weights = capped(weights, rules.largest_share)
    weight = sum(weights.values())
    if not weight:
        # No contribution: the last committed model stays, and one member sends it to all.
        holder = min(table.offers)
        weights[holder], statuses[holder] = 1, PeerStatus.ACTIVE
    group = sorted(table.offers)
    return Group(
        entries=tuple(_entry(table.offers[peer].stats, weights[peer], statuses[peer]) for peer in group),
        members=tuple(sorted(table.members)),
        weight=weight,
        refused=tuple(refused),
    )


def _has_news(stats: ContributionStats) -> bool:
    """Whether a contribution is that of a training peer, or has steps that are in no merge yet."""
    return not stats.status.finished or (stats.steps > 0 and stats.status is not PeerStatus.ACTIVE)


def signals(table: Table, rules: RoundRules) -> list[tuple[int, float]]:
    """The input of the sync policy: what each peer tells of what it follows.

    A signal has at most the weight that the peer joined with, and the share that it may have.
    """
    told = {
        peer: signal
        for peer, offer in table.offers.items()
        if (signal := _signal(offer.stats, rules.policy.signal)) is not None
    }
    return _weighed(told, table, rules)


def best(table: Table, rules: RoundRules) -> Best | None:
    """The best model before this round, by the scores that come with the offers to it.

    A score has the weight that a signal has.
    """
    if rules.judge is None:
        return None
    told = {peer: offer.stats.score for peer, offer in table.offers.items() if offer.stats.score is not None}
    return rules.judge.best(table.commit, _weighed(told, table, rules))


def stops(table: Table, rules: RoundRules) -> bool | None:
    """True if the training is to end at all members: once, more than half of them had asked for it; else None.

    Members that have finished agree to what one of the others asks for. Of those that lie, as many as are tolerated can
    neither end a training nor keep the others from it.
    """
    asking = {peer for peer, offer in table.offers.items() if offer.stats.stop}
    agreeing = asking | {peer for peer, offer in table.offers.items() if offer.stats.status.finished}
    ends = table.commit.stop or (asking and is_quorum(table.members, agreeing, rules.tolerated_liars))
    return True if ends else None


def _weighed(told: Mapping[PeerId, float], table: Table, rules: RoundRules) -> list[tuple[int, float]]:
    """What peers tell, each with at most the weight that it joined with, and the share that it may have."""
    given = {peer: table.offers[peer].stats.weight for peer in told}
    weights = capped(
        {peer: min(weight, table.joined.get(peer, weight)) for peer, weight in given.items()}, rules.largest_share
    )
    return [(weights[peer], value) for peer, value in told.items()]


def _signal(stats: ContributionStats, signal: Signal) -> float | None:
    if signal.of_training and stats.status.finished:
        return None
    return stats.delta_norm if signal is Signal.DISTANCE else stats.signal


def _entry(stats: ContributionStats, weight: int, status: PeerStatus) -> Entry:
    if not weight:
        return Entry(stats.peer, weight, status, steps=stats.steps)
    # A peer that sends the last committed model to all does not send what it offered.
    norm = 0.0 if status is PeerStatus.ACTIVE else stats.delta_norm
    moments = stats.moments and not status.finished
    return Entry(stats.peer, weight, status, norm, stats.residual, stats.steps, moments)


def _weight(offer: Offer, table: Table, rules: RoundRules) -> tuple[int, str]:
    stats = offer.stats
    if stats.status is PeerStatus.INACTIVE or (stats.status is PeerStatus.ACTIVE and not rules.averaging):
        return 0, ""
    if stats.status is PeerStatus.EXTENDED and not stats.steps:
        return 0, ""  # its epochs ended with a round: what it holds would only hold the steps of the others back
    if stats.peer in table.left_out:
        return 0, table.left_out[stats.peer]
    if not stats.finite:
        return 0, "its tensors hold NaN or infinity"
    joined = table.joined.get(stats.peer, stats.weight)
    if not 0 <= stats.weight <= joined:
        return 0, f"it claims weight {stats.weight} and joined with {joined}"
    return stats.weight, ""

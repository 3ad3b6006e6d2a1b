"""Whom a leader puts into a group, and when: pure functions of what it knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from swarm.messages import Entry, Offer
from swarm.records import Commit, PeerId, PeerStatus
from swarm.rounds.order import majority
from swarm.rounds.rules import RoundRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What a leader sees when it decides whether to close the group."""

    commit: Commit
    offers: Mapping[PeerId, Offer]
    """Offers to this round, from peers that are live and not excluded."""
    live: frozenset[PeerId]
    """Peers it could wait for, itself included, the excluded left out."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group ready to be proposed."""

    entries: tuple[Entry, ...]
    members: tuple[PeerId, ...]
    closing: bool
    refused: tuple[tuple[PeerId, str], ...]
    """Contributions left out, with the reason."""


def quorum(table: Table, rules: RoundRules) -> bool:
    """Whether those who offered are enough for ``min_peers`` and for a majority of the membership."""
    return len(table.offers) >= rules.min_peers and majority(table.commit.members, table.offers)


def may_fork(table: Table, rules: RoundRules) -> bool:
    """Whether ``min_peers`` allows a minority of the membership to go on by itself, and enough of it has offered."""
    return 2 * rules.min_peers <= len(table.commit.members) and len(table.offers) >= rules.min_peers


def complete(table: Table) -> bool:
    """Whether nobody is left to wait for."""
    return table.live <= set(table.offers)


def worth_merging(table: Table) -> bool:
    """Whether the group has news: a peer that still trains, or all are finished and it is time to close."""
    return complete(table) or any(not offer.stats.status.finished for offer in table.offers.values())


def form(table: Table, rules: RoundRules) -> Group:
    """The group of all who offered, with the weight that each gets."""
    refused: list[tuple[PeerId, str]] = []
    weights: dict[PeerId, int] = {}
    for peer, offer in table.offers.items():
        weights[peer], reason = _weight(offer, rules)
        if reason:
            refused.append((peer, reason))
    statuses = {peer: offer.stats.status for peer, offer in table.offers.items()}
    if not any(weights.values()):
        # Nobody contributes: the last committed model stands, and one member hands it round.
        holder = min(table.offers)
        weights[holder], statuses[holder] = 1, PeerStatus.ACTIVE
    group = sorted(table.offers)
    return Group(
        entries=tuple(Entry(peer, weights[peer], statuses[peer]) for peer in group),
        members=tuple(sorted(set(group) | (set(table.commit.members) & table.live))),
        closing=complete(table) and all(offer.stats.status.finished for offer in table.offers.values()),
        refused=tuple(refused),
    )


def _weight(offer: Offer, rules: RoundRules) -> tuple[int, str]:
    stats = offer.stats
    if stats.status is PeerStatus.INACTIVE or (stats.status is PeerStatus.ACTIVE and not rules.averaging):
        return 0, ""
    if not stats.finite:
        return 0, "its weights hold NaN or infinity"
    reason = rules.screen(stats)
    return (0, reason) if reason else (stats.weightage, "")

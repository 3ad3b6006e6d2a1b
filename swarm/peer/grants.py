"""What the consortium grants: a peer weighs no more than that, whatever it declares."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from swarm.messages import Hello, Message, Offer

if TYPE_CHECKING:
    from swarm.identity import Identity
    from swarm.records import ContributionStats, PeerId


def within_grant(message: Message, sender: PeerId, identity: Identity | None) -> Message:
    """``message`` with a weight that is at most what is granted to ``sender``; without an identity, as it is."""
    if identity is None or not isinstance(message, Hello | Offer):
        return message
    if isinstance(message, Offer):
        return replace(message, stats=stats_within_grant(message.stats, sender, identity))
    peer, most = message.peer, identity.member(sender).weight
    return replace(message, peer=replace(peer, weight=most)) if peer.weight > most else message


def stats_within_grant(stats: ContributionStats, peer: PeerId, identity: Identity | None) -> ContributionStats:
    """``stats`` of ``peer``, which may be this one, with a weight that is at most what is granted to it."""
    most = stats.weight if identity is None else identity.member(peer).weight
    return replace(stats, weight=most) if stats.weight > most else stats

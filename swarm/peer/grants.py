"""What the consortium grants: a peer weighs no more than that, whatever it declares.

A number of samples is not limited here: its share of a round is, where the group is formed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from swarm.messages import Hello, Message, Offer

if TYPE_CHECKING:
    from swarm.identity import Identity
    from swarm.records import ContributionStats, PeerId


def within_grant(message: Message, sender: PeerId, identity: Identity | None, *, by_samples: bool = False) -> Message:
    """``message`` with a weight that is at most what is granted to ``sender``; without an identity, as it is.

    If weights are numbers of samples (``by_samples``), only a grant of 0 limits them.
    """
    if identity is None or not isinstance(message, Hello | Offer):
        return message
    if isinstance(message, Offer):
        return replace(message, stats=stats_within_grant(message.stats, sender, identity, by_samples=by_samples))
    peer = message.peer
    weight = _within(peer.weight, sender, identity, by_samples)
    return message if weight == peer.weight else replace(message, peer=replace(peer, weight=weight))


def stats_within_grant(
    stats: ContributionStats, peer: PeerId, identity: Identity | None, *, by_samples: bool = False
) -> ContributionStats:
    """``stats`` of ``peer``, which may be this one, with a weight that is at most what is granted to it."""
    weight = stats.weight if identity is None else _within(stats.weight, peer, identity, by_samples)
    return stats if weight == stats.weight else replace(stats, weight=weight)


def _within(weight: int, peer: PeerId, identity: Identity, by_samples: bool) -> int:
    most = identity.member(peer).weight
    return weight if by_samples and most > 0 else min(weight, most)

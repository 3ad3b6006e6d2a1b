"""What the consortium grants: a peer weighs no more than that, whatever it declares."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from swarm.messages import Hello, Message, Offer

if TYPE_CHECKING:
    from swarm.identity import Identity
    from swarm.records import PeerId


def within_grant(message: Message, sender: PeerId, identity: Identity | None) -> Message:
    """``message`` with a weight that is at most what is granted to ``sender``; without an identity, as it is."""
    if identity is None or not isinstance(message, Hello | Offer):
        return message
    most = identity.member(sender).weight
    if isinstance(message, Hello):
        peer = message.peer
        return replace(message, peer=replace(peer, weight=most)) if peer.weight > most else message
    stats = message.stats
    return replace(message, stats=replace(stats, weight=most)) if stats.weight > most else message

"""Limits the share of the weight of a round that one peer has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from swarm.records import PeerId

ALL = Fraction(1)


def capped(weights: Mapping[PeerId, int], share: Callable[[PeerId], Fraction]) -> dict[PeerId, int]:
    """The weights with those lowered whose share of the sum is larger than ``share`` allows; none is raised.

    This is water-filling: the peer that is furthest above its limit gets exactly its limit of the new sum, then the
    next one is looked at. Weights stay integers, so a share is exact to one unit of weight. If all contributors are at
    their limits, which then sum to less than 1, their weights are in the proportion of these limits.

    Args:
        weights: of all peers, 0 for those that contribute nothing.
        share: the largest share of a peer, 0 to 1.
    """
    limits = {peer: min(share(peer), ALL) for peer, weight in weights.items() if weight > 0}
    if all(limit == ALL for limit in limits.values()):
        return dict(weights)
    excess = {peer: weights[peer] / limit for peer, limit in limits.items() if limit > 0}
    rest, free = sum(weights[peer] for peer in excess), ALL
    lowered: list[PeerId] = []
    for peer in sorted(excess, key=lambda each: (-excess[each], each)):
        if excess[peer] * free <= rest:
            break
        lowered.append(peer)
        rest -= weights[peer]
        free -= limits[peer]
    # The new sum. Where nobody is left below a limit, no peer gets more than it had.
    level = rest / free if rest else min(excess.values(), default=ALL)
    allowed = {peer: weight if peer in excess else 0 for peer, weight in weights.items()}
    return allowed | {peer: max(1, int(limits[peer] * level)) for peer in lowered}

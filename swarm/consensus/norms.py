"""How far contributions are from the model that they build on: what is absurd, and what contradicts the offer."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from statistics import median
from typing import TYPE_CHECKING

from swarm.messages import Entry, Proposal, Ready
from swarm.records import ContributionStats, PeerId, PeerStatus

if TYPE_CHECKING:
    from swarm.codec.base import Codec

ABSURD = 100.0
"""A training peer that has moved more than so many times as far as the median one is left out.

Between peers that train one model, data and pace make a factor of ten at most. A gradient that explodes makes one of
thousands within a few batches, and no mean is ever rid of it.
"""
FEWEST = 3
"""Training contributors that have moved, among which one can stand out: of two, either may be the one that is right."""
SLACK = 1e-12
"""Distance that may come of the smallest numbers that a float32 or a codec can still tell from zero."""


def absurd(contributions: Collection[ContributionStats]) -> dict[PeerId, str]:
    """Who of those that would contribute must not, by what they say of themselves, and why.

    Finished peers are neither judged nor in the median: what they hold again and again falls behind the others. Nor are
    those in it that have not moved at all, as they have not trained.
    """
    sizes = {stats.peer: stats.delta_norm + stats.residual for stats in contributions}
    impossible = {
        stats.peer: f"it says that its weights have moved by {stats.delta_norm:g}, and codecs left {stats.residual:g}"
        for stats in contributions
        if not (math.isfinite(sizes[stats.peer]) and stats.delta_norm >= 0 and stats.residual >= 0)
    }
    training = {
        stats.peer
        for stats in contributions
        if stats.status is PeerStatus.TRAINING and stats.peer not in impossible and sizes[stats.peer] > 0
    }
    if len(training) < FEWEST:
        return impossible
    middle = median(sizes[peer] for peer in training)
    far = {
        peer: f"its weights have moved by {sizes[peer]:g}, the median of those who train is {middle:g}"
        for peer in sorted(training)
        if sizes[peer] > ABSURD * middle
    }
    return impossible | far


def unmeasured(proposal: Proposal, told: Mapping[PeerId, Ready]) -> set[PeerId]:
    """Members that do not tell, of each contribution, how far it has moved within their slices."""
    if not proposal.parent:
        return set()
    contributors = sorted(proposal.contributors)
    return {
        member
        for member, ready in told.items()
        if sorted(part.peer for part in ready.norms) != contributors
        or not all(math.isfinite(part.squared) and part.squared >= 0 for part in ready.norms)
    }


def contradicted(proposal: Proposal, told: Mapping[PeerId, Ready], codec: Codec) -> dict[PeerId, str]:
    """Whose contribution is not what was offered, with the reason.

    Args:
        proposal: the attempt that all of its group are ready for.
        told: what each of them has measured in its slice.
        codec: how the contributions travelled.
    """
    if not proposal.parent:
        return {}
    squared = dict.fromkeys(proposal.contributors, 0.0)
    for ready in told.values():
        for part in ready.norms:
            squared[part.peer] += part.squared
    moved = {entry: math.sqrt(squared[entry.peer]) for entry in proposal.entries if entry.weight}
    return {
        entry.peer: f"{entry.peer} offered weights that have moved by {entry.norm:g} and sent some that did by {sent:g}"
        for entry, sent in moved.items()
        if not _agrees(entry, sent, codec)
    }


def _agrees(entry: Entry, norm: float, codec: Codec) -> bool:
    """Whether a contribution of this norm can be the one that was offered: the triangle inequality, and rounding."""
    residual = entry.residual if codec.feedback else 0.0
    return abs(norm - entry.norm) <= residual + codec.norm_tolerance * (entry.norm + residual) + SLACK

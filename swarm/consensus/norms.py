"""Checks of contributions by their distance from the parent model: absurd distances, and others than were offered."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from statistics import median
from typing import TYPE_CHECKING

from swarm.messages import Entry, Proposal, Ready
from swarm.records import ContributionStats, PeerId

if TYPE_CHECKING:
    from swarm.codec.base import Codec

ABSURD = 100.0
"""A training peer that has moved more than this many times as far as the median one is left out.

Between peers that train one model, differences of data and speed make a factor of ten at most. An exploding gradient
makes one of thousands within a few batches, and the mean would keep its effect.
"""
FEWEST = 3
"""Fewest training contributors that have moved for the check: of two, either one may be right."""
SLACK = 1e-12
"""Absolute tolerance of a norm: the smallest numbers of float32 and of codecs round to zero."""


def absurd(contributions: Collection[ContributionStats]) -> dict[PeerId, str]:
    """Peers whose contribution is left out because of the distance that they claim, with the reason.

    Finished peers are neither checked nor in the median, as their weights fall behind those of the others. Peers that
    have not moved at all are not in the median either, as they have not trained.
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
        if not stats.status.finished and stats.peer not in impossible and sizes[stats.peer] > 0
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
    """Members that do not say of each contribution how far it has moved within their slices."""
    if not proposal.parent:
        return set()
    contributors = sorted(proposal.senders)
    return {
        member
        for member, ready in told.items()
        if sorted(part.peer for part in ready.norms) != contributors
        or not all(math.isfinite(part.squared) and part.squared >= 0 for part in ready.norms)
    }


def contradicted(proposal: Proposal, told: Mapping[PeerId, Ready], codec: Codec) -> dict[PeerId, str]:
    """Peers whose contribution is not what they offered, with the reason.

    Args:
        proposal: the attempt for which all of its group are ready.
        told: what each member has measured in its slice.
        codec: the codec of the contributions.
    """
    if not proposal.parent:
        return {}
    squared = dict.fromkeys(proposal.senders, 0.0)
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
    """Whether a contribution of this norm can be the offered one, by the triangle inequality, and within rounding."""
    residual = entry.residual if codec.feedback else 0.0
    return abs(norm - entry.norm) <= residual + codec.norm_tolerance * (entry.norm + residual) + SLACK

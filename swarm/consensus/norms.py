"""Checks of contributions by their distance from the parent model: absurd distances, and others than were offered.

Training peers are compared with one another. Finished ones are compared with what they contributed before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

from swarm.messages import MAX_PEERS, Entry, Proposal, Ready
from swarm.records import ContributionStats, PeerId, PeerStatus

if TYPE_CHECKING:
    from swarm.codec.base import Codec

ABSURD = 100.0
"""A training peer that has moved more than this many times as far as the median one is left out.

Between peers that train one model, differences of data and speed make a factor of ten at most. An exploding gradient
makes one of thousands within a few batches, and the mean would keep its effect.
"""
FEWEST = 3
"""Fewest contributors that have trained for the check: of two, either one may be right."""
FROZEN = 10.0
"""Frozen weights that are more than this many times as far away as they can be are left out.

The bound itself is exact for the built-in rules. The rest is for codecs, for spectral normalisation, which moves a
kernel further than a mean does, and for rules of plugins.
"""
Step = Callable[[float, float, float], float]
"""From the bound of a peer, and the distance and the part of the weight of what it contributes, to its next bound."""
SLACK = 1e-12
"""Absolute tolerance of a norm: the smallest numbers of float32 and of codecs round to zero."""


def absurd(
    contributions: Collection[ContributionStats], factors: Mapping[PeerId, float] | None = None
) -> dict[PeerId, str]:
    """Peers whose contribution is left out because of the distance that they claim, with the reason.

    What counts is the distance by which a contribution is merged: the claimed one times its factor, if it has one.

    Finished peers are neither in the median nor checked here, as their weights fall behind those of the others: see
    :class:`FrozenNorms`. Peers that have made no steps are not in the median either, as they have not trained: the
    little that rounding moves them by would become the median. Each of them is compared with those that have, and
    itself, so that a false number of steps does not hide a large distance.
    """
    sizes = {
        stats.peer: (stats.delta_norm + stats.residual) * (factors or {}).get(stats.peer, 1.0)
        for stats in contributions
    }
    impossible = {
        stats.peer: f"it says that its weights have moved by {stats.delta_norm:g}, and codecs left {stats.residual:g}"
        for stats in contributions
        if not (math.isfinite(sizes[stats.peer]) and stats.delta_norm >= 0 and stats.residual >= 0)
    }
    checked = {
        stats.peer: stats.steps
        for stats in contributions
        if not stats.status.finished and stats.peer not in impossible and sizes[stats.peer] > 0
    }
    trained = {peer for peer, steps in checked.items() if steps}
    moved = "count as moved" if factors else "have moved"
    far: dict[PeerId, str] = {}
    for peer in sorted(checked):
        compared = [sizes[each] for each in trained | {peer}]
        if len(compared) >= FEWEST and sizes[peer] > ABSURD * (middle := median(compared)):
            far[peer] = f"its weights {moved} by {sizes[peer]:g}, the median of those who train is {middle:g}"
    return impossible | far


class FrozenNorms:
    """Bounds on how far the weights of each peer can be from the last committed model, if it trains no further.

    Frozen weights stay where they are, and the model moves away from them by no more than the contributions to each
    round allow, whose norms all of the group know. So there is a bound for everybody who has ever contributed, as long
    as this peer has seen every round since. A model that was downloaded tells by its distance from the one before.

    Why the bound holds: let d(i) be the distance of contribution x(i) from the model of the round before, and s(i) its
    part of the weight. The mean is the sum of all s(i) x(i). The distance of x(p) from it is that of a sum over the
    others of s(i) (x(p) - x(i)), so at most (1 - s(p)) d(p) plus the sum over the others of s(i) d(i). If x(p) is not
    among them, s(p) is 0. Under a rule that gives, in each coordinate, a value between those of the contributions, the
    distance is at most d(p) plus the root of the sum over the others of d(i)^2.

    A contribution counts here for no more than its own bound, so that peers which exceed theirs, within ``FROZEN``,
    do not raise those of one another.

    An outer optimizer, and contributions that are scaled by their steps, can leave the range of the contributions. Then
    the way of the model itself counts, which this peer measures: the distance is at most d(p) plus that way.
    """

    def __init__(self, *, averaging: bool, leaves_range: bool = False) -> None:
        """Nothing is known yet.

        Args:
            averaging: whether the merge rule is the mean.
            leaves_range: whether a model may be beyond what the rule makes of the contributions.
        """
        self.needs_way = leaves_range
        """Whether ``merged`` needs how far the model has moved."""
        self._averaging = averaging
        self._bounds: dict[PeerId, float] = {}
        """Of everybody who has contributed, whose last contribution is longest ago first."""
        self._frozen: set[PeerId] = set()
        """Those of them who had finished then."""
        self._unseen = math.inf
        """Of everybody else."""
        self._usual = 0.0
        """Median distance of the training contributors, in the last round that had enough of them."""

    def founded(self) -> None:
        """A session begins: all have the same weights."""
        self._bounds.clear()
        self._frozen.clear()
        self._unseen = self._usual = 0.0

    def merged(self, entries: Sequence[Entry], way: float | None = None) -> bool:
        """A round of ``entries`` is committed; False if these do not tell how far it can have moved the model.

        Args:
            entries: of the group.
            way: how far it has moved the model; None where the entries tell the bound.
        """
        given = {entry.peer: entry for entry in entries if entry.weight}
        sizes = {peer: entry.norm + entry.residual for peer, entry in given.items()}
        if not given or not all(0 <= size < math.inf for size in sizes.values()):
            return False
        trained = {peer for peer, entry in given.items() if entry.steps and not entry.status.finished}
        moved = [sizes[peer] for peer in trained if sizes[peer]]
        self._usual = median(moved) if len(moved) >= FEWEST else self._usual
        usual = ABSURD * self._usual or math.inf
        sizes = {
            peer: min(size, self._most(peer) if given[peer].status.finished else usual) for peer, size in sizes.items()
        }
        # Who sends the last committed model to all does not send its own weights.
        own = {peer: size for peer, size in sizes.items() if given[peer].status is not PeerStatus.ACTIVE}
        total = sum(entry.weight for entry in given.values())
        shares = {peer: given[peer].weight / total for peer in sizes}
        step = self._step(sizes, shares, way)
        bounds = {peer: bound for peer, bound in self._bounds.items() if peer not in own} | own
        self._bounds = {
            peer: step(bounds[peer], own.get(peer, 0.0), shares[peer] if peer in own else 0.0)
            for peer in [*bounds][-MAX_PEERS:]
        }
        finished = {peer for peer in own if given[peer].status.finished}
        self._frozen = ((self._frozen - own.keys()) | finished) & self._bounds.keys()
        if self._unseen:
            self._unseen = step(self._unseen, 0.0, 0.0)
        return True

    def _step(self, sizes: Mapping[PeerId, float], shares: Mapping[PeerId, float], way: float | None) -> Step:
        """What a round of contributions with these distances and parts of the weight does to bounds.

        What codecs and rounding add is below the bound of before, which therefore never falls but to the distance that
        its peer tells.
        """
        if way is not None:
            return lambda bound, *_: bound + way
        if self._averaging:
            moved = math.fsum(shares[peer] * size for peer, size in sizes.items())
            return lambda bound, size, share: max(bound, (1 - share) * bound + moved - share * size)
        root = math.hypot(*sizes.values())
        return lambda bound, size, _: bound + (root * math.sqrt(max(1 - (size / root) ** 2, 0)) if root else 0.0)

    def _most(self, peer: PeerId, slack: float = 1.0) -> float:
        """How far away the weights of a finished peer can be, if its bound is ``slack`` times as large."""
        known = self._bounds.get(peer, self._unseen)
        if peer in self._frozen:
            return slack * known
        # It may have trained on since its last contribution, or be new, as far as a training peer may.
        return slack * known + ABSURD * self._usual if self._usual else ABSURD * known or math.inf

    def jumped(self, distance: float) -> None:
        """The model has moved by ``distance``, and how is not known: this peer has missed rounds and catches up."""
        self._bounds = {peer: bound + distance for peer, bound in self._bounds.items()}
        # Others may have joined, contributed and finished in the rounds that were missed.
        self._unseen += distance

    def refusal(self, stats: ContributionStats) -> str | None:
        """Why the contribution of a finished peer is left out; None if it is not, or too little is known."""
        size = stats.delta_norm + stats.residual
        if stats.status is not PeerStatus.SNAPSHOT or not math.isfinite(size):
            return None
        most = self._most(stats.peer, FROZEN)
        if size <= most + SLACK:
            return None
        return f"its weights have moved by {size:g}, which is more than the {most:g} that frozen ones can be away"


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

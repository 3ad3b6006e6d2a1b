"""Runs the exchanges of a site of which each process exchanges its own shard: one round, an exchange per process."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from swarm.consensus.member import Key
from swarm.messages import PartialNorm
from swarm.peer.exchanger import Exchanger, Post
from swarm.peer.other_ranks import Assembled, OtherRanks
from swarm.tensors.shards import joint_digest
from swarm.tensors.state import ModelState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from swarm.messages import Proposal
    from swarm.records import PeerId
    from swarm.tensors.capture import Capture
    from swarm.tensors.shards import OtherShards

LARGEST = sys.float_info.max
"""A sum that overflows is the contributor's doing: this member still has a finite number to tell."""


class ShardExchanger(Exchanger):
    """The exchanger of rank 0, which directs those of the other processes.

    The merged model is there once all shards are. Its digest is that of their digests, by rank.
    """

    def __init__(self, ranks: OtherRanks, **given: Any) -> None:
        """``given`` is what ``Exchanger`` takes, for the shard of rank 0."""
        super().__init__(**given)
        self._ranks = ranks
        self._started: Key | None = None
        """The attempt whose exchange the other processes have begun and not ended."""
        self._own: dict[str, tuple[str, OtherShards]] = {}
        """The digest of the own shard, and the other shards, of each model that may be committed, by its digest."""

    @property
    def traffic(self) -> tuple[int, int]:
        sent, received = zip(*self.traffic_of_ranks, strict=True)
        return sum(sent), sum(received)

    @property
    def traffic_of_ranks(self) -> tuple[tuple[int, int], ...]:
        return (super().traffic, *self._ranks.traffic)

    @property
    def residual(self) -> float:
        return math.hypot(super().residual, math.sqrt(self._ranks.kept_error))

    def start(
        self,
        proposal: Proposal,
        own: Capture,
        reference: ModelState | None,
        post: Post,
        done: Callable[[str, ModelState, tuple[PartialNorm, ...], tuple[str, ...]], None],
        failed: Callable[[PeerId, str], None],
    ) -> None:
        assembled: dict[int, Assembled] = {}
        merged: list[ModelState] = []

        def collect(rank: int, part: Assembled) -> None:
            assembled[rank] = part
            if len(assembled) <= len(self._ranks.addresses):
                return
            parts, model = [assembled[rank] for rank in sorted(assembled)], merged[0]
            digest = joint_digest(part.digest for part in parts)
            model.others = shards
            self._ranks.call(shards, digest)
            self._own[digest] = parts[0].digest, shards
            done(digest, model, joint_norms([part.norms for part in parts]), joint_slices(parts))

        def mine(digest: str, model: ModelState, norms: tuple[PartialNorm, ...], slices: tuple[str, ...]) -> None:
            merged.append(model)
            collect(0, Assembled(digest, norms, slices))

        self._tell_met()
        self._started = proposal.key
        shards = self._ranks.start(
            proposal,
            _others(own),
            _others(reference) if reference else None,
            lambda rank, part: post(lambda: collect(rank, part)),
            lambda peer, why: post(lambda: failed(*self.blame(peer, why))),
        )
        super().start(proposal, own, reference, post, mine, failed)

    def met(self, peer: PeerId) -> None:
        self._tell_met()
        super().met(peer)

    def stop(self, key: Key | None = None) -> None:
        super().stop(key)
        started = self._started
        if started and key in (None, started):
            self._started = None
            self._ranks.stop(started)

    def update_residual(self, digest: str, *, stands: bool) -> None:
        own = self._own.get(digest)
        if own:
            super().update_residual(own[0], stands=stands)
            self._ranks.update_residual(own[1], stands=stands)

    def healed(self) -> None:
        super().healed()
        self._ranks.healed()

    def keep(self, digests: Collection[str]) -> None:
        if self._own:
            self._own = {digest: own for digest, own in self._own.items() if digest in digests}
        super().keep([own for own, _ in self._own.values()])

    def _tell_met(self) -> None:
        self._ranks.met({info.name: info for info in self._roster.live()})


def joint_norms(parts: Sequence[tuple[PartialNorm, ...]]) -> tuple[PartialNorm, ...]:
    """How far each contribution is from the parent model within this member's slices of all shards."""
    sums: dict[PeerId, float] = {}
    for norms in parts:
        for norm in norms:
            sums[norm.peer] = sums.get(norm.peer, 0.0) + norm.squared
    return tuple(PartialNorm(peer, min(squared, LARGEST)) for peer, squared in sums.items())


def joint_slices(parts: Sequence[Assembled]) -> tuple[str, ...]:
    """The digest of what each member has merged of all shards, in the order of the members."""
    return tuple(joint_digest(each) for each in zip(*(part.slices for part in parts), strict=True))


def _others(model: Capture) -> OtherShards:
    if isinstance(model, ModelState) and model.others:
        return model.others
    raise ValueError("the other processes of this site do not know this model")

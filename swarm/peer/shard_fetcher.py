"""Fetches a model of which each process of a site has a shard: each fetches its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swarm.errors import SwarmError
from swarm.peer.fetching import Fetcher, require_true
from swarm.peer.other_ranks import OtherRanks
from swarm.tensors.shards import OtherShards, joint_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swarm.messages import FetchRequest
    from swarm.records import PeerId, PeerInfo
    from swarm.tensors.state import ModelState


class ShardFetcher(Fetcher):
    """The fetcher of rank 0, at the same time as those of the other processes."""

    def __init__(self, ranks: OtherRanks, **given: Any) -> None:
        """``given`` is what ``Fetcher`` takes, for the shard of rank 0."""
        super().__init__(**given)
        self._ranks = ranks

    def _fetched(self, request: FetchRequest, sources: Mapping[PeerId, PeerInfo]) -> ModelState:
        found: list[tuple[OtherShards, list[str]] | SwarmError] = []

        def fetch_others() -> None:
            try:
                found.append(self._ranks.fetch(request.digest, sources))
            except SwarmError as error:
                found.append(error)

        others = self._executor.start("swarm-fetch", fetch_others)
        try:
            model = self._given(request, sources)
        finally:
            others.join()
        if isinstance(found[0], SwarmError):
            raise found[0]
        shards, digests = found[0]
        require_true(model, joint_digest([model.digest(), *digests]), request.digest, sources)
        model.others = shards
        self._ranks.call(shards, request.digest)
        return model

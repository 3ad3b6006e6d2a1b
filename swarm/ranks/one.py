"""A site of one process."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from swarm.ranks.all_shards import AllShardsSession
from swarm.ranks.base import MakeSession, Parts, Ranks, SiteSession
from swarm.ranks.group import ProcessGroup
from swarm.ranks.possible import require_shards
from swarm.session.wiring import transport_of

if TYPE_CHECKING:
    import logging

    from swarm.config import Settings
    from swarm.tensors.state import Array


class OneProcessGroup(ProcessGroup):
    """A process that has no other one to reach."""

    rank, size, time_out = 0, 1, math.inf

    def share(self, array: Array) -> None:
        """Nothing."""

    def gather(self, data: bytes) -> list[bytes]:
        return [data]

    def close(self) -> None:
        """Nothing."""


class _OneProcess(Ranks):
    """A site of one process, which takes part in the swarm itself."""

    def session(self, make: MakeSession, parts: Parts, settings: Settings, logger: logging.Logger) -> SiteSession:
        require_shards(settings, sharded=False)
        if settings.exchange_shards and not settings.loopback:
            group, transport = OneProcessGroup(), transport_of
            return AllShardsSession(group, make, parts, settings, logger, sharded=False, transport=transport)
        return make(parts)


ONE_PROCESS: Ranks = _OneProcess()

"""A site of several processes: the session of rank 0, or of another one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from swarm.logs import configure_from_environment
from swarm.ranks.all_shards import AllShardsSession
from swarm.ranks.base import MakeSession, Parts, Ranks, SiteSession
from swarm.ranks.group import ProcessGroup
from swarm.ranks.other import OtherRankSession
from swarm.ranks.other_shards import OtherShardSession, ShardExchange
from swarm.ranks.zero import RankZeroSession
from swarm.ranks.zero_shards import ShardZeroSession

if TYPE_CHECKING:
    from swarm.config import Settings

GivePart = Callable[[], None]
"""A process's part in reading a model of which each has a shard: rank 0 gets the whole."""


class SeveralProcesses(Ranks):
    """A site whose processes train one model together, each with a copy or a shard of it.

    Optimizers of a sharded model are sharded too. Their state is in checkpoints only where each process exchanges its
    shard, and writes it; else these have what is the same in all processes, as a schedule and the learning rate.
    """

    def __init__(
        self,
        connect: Callable[[], ProcessGroup],
        give: GivePart | None = None,
        exchange: ShardExchange | None = None,
    ) -> None:
        """Nothing is connected before ``session``.

        Args:
            connect: connects the processes; each calls it at the same place.
            give: what another rank than 0 does while rank 0 reads the model, where each process has only a shard.
            exchange: what it takes to exchange shards; None: rank 0 exchanges the whole model.
        """
        self._connect = connect
        self._give = give
        self._exchange = exchange

    def session(self, make: MakeSession, parts: Parts, settings: Settings, logger: logging.Logger) -> SiteSession:
        configure_from_environment()
        logger.info("connecting the processes of this site: each calls on_train_begin")
        group, exchange, sharded = self._connect(), self._exchange, self._give is not None
        if exchange and exchange.port:
            port = exchange.port(group.rank, group.size)
            if group.rank:
                return OtherShardSession(group, parts._replace(port=port), settings, port, exchange, logger)
            return ShardZeroSession(group, make, parts._replace(port=port), settings, logger, port)
        if sharded:
            parts = parts._replace(training=parts.training and parts.training.common())
        if group.rank:
            return OtherRankSession(group, parts, settings, give=self._give)
        if exchange:
            transport = exchange.transport
            return AllShardsSession(group, make, parts, settings, logger, sharded=sharded, transport=transport)
        return RankZeroSession(group, make, parts, settings, logger, sharded=sharded)

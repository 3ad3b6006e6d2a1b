"""A site of several processes, its ranks: rank 0 takes part in the swarm, the others do to their model what it does."""

from swarm.ranks.base import MakeSession, Parts, Ranks, SiteSession
from swarm.ranks.group import ProcessGroup
from swarm.ranks.layout import Rows
from swarm.ranks.one import ONE_PROCESS
from swarm.ranks.other_shards import ShardExchange
from swarm.ranks.possible import require_shards
from swarm.ranks.several import SeveralProcesses
from swarm.ranks.shard_port import ShardPort

__all__ = [
    "ONE_PROCESS",
    "MakeSession",
    "Parts",
    "ProcessGroup",
    "Ranks",
    "Rows",
    "SeveralProcesses",
    "ShardExchange",
    "ShardPort",
    "SiteSession",
    "require_shards",
]

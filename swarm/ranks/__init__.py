"""A site of several processes, its ranks: rank 0 takes part in the swarm, the others do to their model what it does."""

from swarm.ranks.base import ONE_PROCESS, MakeSession, Parts, Ranks, SiteSession
from swarm.ranks.group import ProcessGroup
from swarm.ranks.several import SeveralProcesses

__all__ = ["ONE_PROCESS", "MakeSession", "Parts", "ProcessGroup", "Ranks", "SeveralProcesses", "SiteSession"]

"""The other processes of a site that exchanges shards, as the worker of rank 0 directs them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from swarm.consensus.member import Key
    from swarm.messages import PartialNorm, Proposal
    from swarm.records import PeerId, PeerInfo
    from swarm.tensors.shards import OtherShards


class Assembled(NamedTuple):
    """What a process has assembled of its shard."""

    digest: str
    norms: tuple[PartialNorm, ...]
    slices: tuple[str, ...]


class OtherRanks(ABC):
    """Each does to its shard what rank 0 does to its own. The methods that return nothing do not wait.

    What they are given to call is called on any thread. Those that wait raise a ``RanksError`` if a process is gone.
    """

    addresses: tuple[str, ...]
    """Where other sites reach them, by rank, from rank 1 on."""

    @property
    @abstractmethod
    def kept_error(self) -> float:
        """Squared norm of the coding errors that their next exchanges may send: see ``Exchanger.residual``."""

    @property
    @abstractmethod
    def traffic(self) -> tuple[tuple[int, int], ...]:
        """Bytes of weights that each has sent and received in finished exchanges, by rank."""

    @abstractmethod
    def join(self, me: PeerInfo) -> None:
        """This site takes part as ``me``."""

    @abstractmethod
    def met(self, peers: Mapping[PeerId, PeerInfo]) -> None:
        """These peers can be reached, and only these."""

    @abstractmethod
    def start(
        self,
        proposal: Proposal,
        own: OtherShards,
        parent: OtherShards | None,
        done: Callable[[int, Assembled], None],
        failed: Callable[[PeerId, str], None],
    ) -> OtherShards:
        """Begin the exchange of an attempt; as ``Exchanger.start``. Returns what will be the merged model."""

    @abstractmethod
    def stop(self, key: Key) -> None:
        """End the exchange of an attempt, and wait until each process has told its bytes."""

    @abstractmethod
    def call(self, model: OtherShards, digest: str) -> None:
        """A model has this digest, under which others may fetch it."""

    @abstractmethod
    def update_residual(self, model: OtherShards, *, stands: bool) -> None:
        """A merged model is committed: as ``Exchanger.update_residual``."""

    @abstractmethod
    def healed(self) -> None:
        """This site goes on from a model that it had no part in."""

    @abstractmethod
    def fetch(self, digest: str, sources: Mapping[PeerId, PeerInfo]) -> tuple[OtherShards, list[str]]:
        """Fetch the model with a digest, and wait for it; the digests of the shards that came, by rank.

        Raises:
            ExchangeError: a process could not fetch its shard.
            FalseModelError: a shard has NaN or infinity.
            RanksError: a process is gone.
        """

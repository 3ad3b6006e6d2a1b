"""A model of which each process of a site has a shard, as rank 0 knows the shards of the others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

if TYPE_CHECKING:
    from collections.abc import Iterable


class ShardMeasurement(NamedTuple):
    """What a process finds of its shard; see ``swarm.session.arithmetic.Measurement``."""

    root: str
    finite: bool
    norm: float
    odd: tuple[str, ...]
    """Names of its tensors that hold NaN or infinity."""


class OtherShards(ABC):
    """The shards of one model in the other processes of a site. They are kept there as long as this object is here."""

    @abstractmethod
    def measure(self, origin: OtherShards | None) -> list[ShardMeasurement]:
        """What each process finds of its shard of a capture, by rank, from rank 1 on.

        Raises:
            RanksError: a process is gone.
        """

    @abstractmethod
    def squared_distance(self, origin: OtherShards) -> float:
        """The squared distance of all these shards from those of another model.

        Raises:
            RanksError: a process is gone.
        """

    @abstractmethod
    def kept(self) -> OtherShards:
        """Copies of what the site keeps for itself, as ``swarm.tensors.capture.kept``.

        Raises:
            RanksError: a process is gone.
        """

    @abstractmethod
    def with_kept(self, own: OtherShards) -> OtherShards:
        """Copies with what ``kept`` has returned.

        Raises:
            RanksError: a process is gone.
        """


def joint_digest(digests: Iterable[str]) -> str:
    """The digest of a model, given those of its shards by rank: 64 hexadecimal digits, as they are."""
    whole = blake3(b"shards\n")
    for digest in digests:
        whole.update(digest.encode() + b"\n")
    return whole.hexdigest()

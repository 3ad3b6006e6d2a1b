"""What a run of peers merges, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MIB = 2**20
BYTES_PER_VALUE: Mapping[str, float] = {"exact": 4, "bf16": 2, "int8": 1}
"""What a float32 value takes encoded, without scales; a codec that is not here counts as ``exact``."""
BOUNDS: Mapping[str, float] = {"exact": 1e-6, "bf16": 2.0**-7, "int8": 3 / 127}
"""How far a merged value may lie from the weighted mean. What is encoded is a difference of at most 1: bf16 rounds it
by up to 2^-9, int8 by up to 1/254, on the way there and back, each with what the last round left over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Equal for all peers of a run."""

    peers: int
    mib: float
    """Size of the model, float32."""
    tensors: int
    """How many it consists of; all of about one size."""
    codec: str
    seed: int
    profile: bool = False
    """Whether the peers note when they come to which phase of a round."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """More settings of Swarm."""

    @property
    def values(self) -> int:
        """Elements of the model."""
        return int(self.mib * MIB) // 4

    @property
    def bound(self) -> float:
        """Bytes that each peer must send at the least: 2(n-1)/n of the encoded model."""
        return 2 * (self.peers - 1) / self.peers * self.values * BYTES_PER_VALUE.get(self.codec, 4)

    @property
    def tolerance(self) -> float:
        """How far a merged value may lie from the weighted mean."""
        return BOUNDS.get(self.codec, max(BOUNDS.values()))

    @property
    def weights(self) -> tuple[int, ...]:
        """The peers' weightages, by rank: unequal, so that a plain mean would be found out."""
        return tuple(range(1, self.peers + 1))

    def name(self, rank: int) -> str:
        """Of a peer; the order of names is that of ranks."""
        return f"peer-{rank:02}"

    def settings_of(self, rank: int) -> dict[str, object]:
        """Swarm's settings for a peer: a merge after every batch, with everybody."""
        codec = {} if self.codec == "exact" else {"codec": self.codec}
        return {
            "name": self.name(rank),
            "world_size": self.peers,
            "min_peers": self.peers,
            "sync_interval": 1,
            "node_weightage": self.weights[rank],
            "failure_timeout": 30.0,
            **codec,
            **self.settings,
        }

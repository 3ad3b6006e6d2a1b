"""What a run of peers merges, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from swarm.tensors.state import numpy_dtype

MIB = 2**20
BYTES_PER_VALUE: Mapping[str, float] = {"exact": 4, "bf16": 2, "int8": 1}
"""What a value takes encoded, without scales, unless it is smaller as it is; others count as ``exact``."""
BOUNDS: Mapping[str, float] = {"exact": 0.0, "bf16": 2.0**-7, "int8": 3 / 127}
"""How far coding may take a merged value from the weighted mean. What is encoded is a difference of at most 1: bf16
rounds it by up to 2^-9, int8 by up to 1/254, on the way there and back, each with what the last round left over."""

ROUNDING: Mapping[str, float] = {"float32": 1e-6, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""How far rounding may take a mean of values between -0.5 and 0.5, if sums are rounded too, as gloo's are; by dtype."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Equal for all peers of a run."""

    peers: int
    mib: float
    """Size of the model."""
    tensors: int
    """How many it consists of; all of about one size."""
    codec: str
    seed: int
    dtype: str = "float32"
    """Of its values."""
    profile: bool = False
    """Whether the peers note when they come to which phase of a round."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """More settings of Swarm."""

    @property
    def itemsize(self) -> int:
        """Bytes of a value."""
        return numpy_dtype(self.dtype).itemsize

    @property
    def values(self) -> int:
        """Elements of the model."""
        return int(self.mib * MIB) // self.itemsize

    @property
    def bound(self) -> float:
        """Bytes that each peer must send at the least: 2(n-1)/n of the encoded model."""
        encoded = min(BYTES_PER_VALUE.get(self.codec, 4), self.itemsize)
        return 2 * (self.peers - 1) / self.peers * self.values * encoded

    @property
    def tolerance(self) -> float:
        """How far a merged value may lie from the weighted mean."""
        return max(BOUNDS.get(self.codec, max(BOUNDS.values())), ROUNDING[self.dtype])

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

"""What the peers of a run train and merge."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Equal for all peers of a run."""

    peers: int
    mib: float
    """Size of the model, float32."""
    tensors: int
    """How many tensors it consists of; all of one size."""
    interval: int
    """Batches between two sync points."""
    step: float
    """Seconds of a batch."""
    work: str
    """What a batch does in that time: "sleep", or "compute" on one core."""
    warmup: int
    """Rounds that do not count."""
    rounds: int
    """Rounds that count."""

    @property
    def values(self) -> int:
        """Elements of each tensor."""
        return max(int(self.mib * MIB) // 4 // self.tensors, 1)

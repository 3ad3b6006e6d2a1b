"""A tensor of a torch model that takes part: how its values are read and set, wherever they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from swarm.pytorch.arrays import shared_tensor
from swarm.pytorch.flattened import partitioned_values, set_partitioned
from swarm.pytorch.shards import is_sharded, own_part, shard_of, whole

if TYPE_CHECKING:
    import torch

    from swarm.tensors.state import Array, TensorSpec


class Entry(NamedTuple):
    """A tensor that takes part, detached from autograd."""

    spec: TensorSpec
    tensor: torch.Tensor
    rounded: torch.Tensor | None = None
    """Of a master weight: the parameter of the model, which gets its values in its own precision."""
    partitioned: torch.Tensor | None = None
    """The parameter whose values an optimizer of DeepSpeed has once more."""

    @property
    def values(self) -> torch.Tensor:
        """All values; of a sharded tensor they come from all processes, each of which asks for them."""
        if self.partitioned is not None:
            return partitioned_values(self.partitioned)
        return whole(self.tensor) if is_sharded(self.tensor) else self.tensor

    def set(self, array: Array) -> None:
        """Set the tensor, or this process's shard of it, from the values of the whole tensor."""
        if self.partitioned is not None:
            set_partitioned(self.partitioned, shared_tensor(array))
            return
        self._own.copy_(self._part(array))
        self._round()

    def add(self, array: Array) -> None:
        """Add to the tensor, or to this process's shard of it."""
        if self.partitioned is not None:
            values = self.values
            set_partitioned(self.partitioned, values.add_(shared_tensor(array).to(values.device)))
            return
        self._own.add_(self._part(array).to(self._own.device))
        self._round()

    def _round(self) -> None:
        if self.rounded is not None:
            self.rounded.copy_(self.tensor)

    @property
    def _own(self) -> torch.Tensor:
        return shard_of(self.tensor) if is_sharded(self.tensor) else self.tensor

    def _part(self, array: Array) -> torch.Tensor:
        values = shared_tensor(array)
        return own_part(self.tensor, values) if is_sharded(self.tensor) else values

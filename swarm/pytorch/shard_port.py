"""The model port for the shard of a torch model that this process has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from swarm.errors import ConfigurationError
from swarm.pytorch.arrays import array_of
from swarm.pytorch.entry import Entry
from swarm.pytorch.port import TorchPort
from swarm.pytorch.shards import is_sharded, shard_of
from swarm.ranks import ShardPort
from swarm.tensors.state import Schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from swarm.ranks import Rows
    from swarm.tensors.state import Array


class TorchShardPort(TorchPort, ShardPort):
    """The rows that this process has of tensors that ``fully_shard`` has sharded, and in rank 0 all other tensors.

    They are read and set where they are: no other process takes part.
    """

    def __init__(self, port: TorchPort, rank: int, size: int) -> None:
        """Nothing is read yet.

        Args:
            port: of the whole model.
            rank: of this process in its site.
            size: processes of the site.
        """
        self._base = port
        self._model = port._model  # noqa: SLF001
        self._staging = {}
        self._rank = rank
        self._size = size

    def whole(self) -> Schema:
        return self._base.schema()

    def schema(self) -> Schema:
        return Schema(tuple(entry.spec for entry in self.entries()))

    def rows(self) -> Sequence[Rows]:
        return [self._rows(entry) for entry in self._base.entries()]

    def common(self) -> Iterator[Array]:
        return (array_of(local(entry.tensor).cpu().contiguous()) for entry in self._common())

    def set_common(self, arrays: Iterable[Array], *, kept: bool) -> None:
        for entry, array in zip(self._common(), arrays, strict=True):
            if kept or not entry.spec.kept:
                Entry(entry.spec, local(entry.tensor)).set(array)

    def give(self) -> None:
        """Nothing: each process reads its own shard."""

    def borrow(self, schema: Schema) -> None:
        """None: the shard is copied, so that its number stands for the same values in all processes."""

    def _common(self) -> Iterator[Entry]:
        return (each for each in self._base.entries() if self._rows(each) is None and each.spec.size)

    def _rows(self, entry: Entry) -> Rows:
        tensor: Any = entry.tensor
        if not is_sharded(tensor):
            return None
        if len(tensor.placements) == 1 and tensor.placements[0].is_replicate():
            return None
        if not _by_rows(tensor, self._size) or tensor.device_mesh.get_local_rank() != self._rank:
            raise ConfigurationError(
                f"exchange_shards=True is not possible here: {entry.spec.name!r} is not sharded by its first dimension "
                "over all processes of the site in their order, as torch.distributed.fsdp.fully_shard does with one "
                "mesh; set it to the number of shards at the other sites, as in exchange_shards=2, or leave it out at "
                "every peer"
            )
        return int(shard_of(tensor).shape[0])

    def entries(self) -> Iterator[Entry]:
        for entry in self._base.entries():
            rows = self._rows(entry)
            shape = entry.spec.shape if rows is None else (rows, *entry.spec.shape[1:])
            spec = entry.spec if rows is None else replace(entry.spec, shape=shape, tied=())
            if spec.size and (rows is not None or self._rank == 0):
                yield Entry(spec, local(entry.tensor))


def sharded_by_rows(port: TorchPort, size: int) -> bool:
    """Whether a model is sharded as ``fully_shard`` does with one mesh of so many processes."""
    tensors: list[Any] = [entry.tensor for entry in port.entries() if is_sharded(entry.tensor)]
    return bool(tensors) and all(_by_rows(tensor, size) for tensor in tensors)


def _by_rows(tensor: Any, size: int) -> bool:
    mesh = tensor.device_mesh
    return mesh.ndim == 1 and mesh.size() == size and bool(tensor.placements[0].is_shard(0))


def local(tensor: Any) -> Any:
    """What this process has of a tensor, in its own memory."""
    return shard_of(tensor) if is_sharded(tensor) else tensor

"""What a process's integration gives of a model of which it has a shard."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from swarm.tensors.model import ModelPort

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from swarm.ranks.layout import Rows
    from swarm.tensors.state import Array, Schema


class ShardPort(ModelPort):
    """The part of a model in one process: its schema is ``Layout.shard``, of the rank of the process."""

    @abstractmethod
    def whole(self) -> Schema:
        """The schema of the whole model, as ``ModelPort.schema``."""

    @abstractmethod
    def rows(self) -> Sequence[Rows]:
        """For each tensor of ``whole`` the rows that this process has.

        Raises:
            ConfigurationError: a tensor is not sharded by rows over all processes in their order.
        """

    @abstractmethod
    def common(self) -> Iterator[Array]:
        """The present values of the tensors that every process has, in the order of ``whole``; none is empty."""

    @abstractmethod
    def set_common(self, arrays: Iterable[Array], *, kept: bool) -> None:
        """Set those tensors.

        ``kept`` tells whether to set those of which the site keeps its own values too.
        """

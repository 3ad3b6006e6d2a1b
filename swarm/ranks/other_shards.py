"""The other ranks of a site that exchanges shards: each does to its shard what rank 0 does to its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from swarm.executor import ThreadExecutor
from swarm.plugins import PluginRegistry
from swarm.ranks.arriving import ArrivingModel
from swarm.ranks.gathering import gathered
from swarm.ranks.instructions import Instruction, Kind
from swarm.ranks.meeting import be_directed, meet_layout
from swarm.ranks.other import OtherRankSession
from swarm.ranks.same import require_same
from swarm.ranks.shard_peer import ShardPeer
from swarm.ranks.shard_store import ShardStore
from swarm.ranks.together import all_do
from swarm.session.arithmetic import differences
from swarm.session.wiring import transport_of
from swarm.tensors.state import numpy_dtype

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.ranks.base import Parts
    from swarm.ranks.group import ProcessGroup
    from swarm.ranks.layout import Layout
    from swarm.ranks.shard_port import ShardPort
    from swarm.tensors.state import Array
    from swarm.transport.base import Transport


class ShardExchange(NamedTuple):
    """What it takes to exchange shards."""

    port: Callable[[int, int], ShardPort] | None = None
    """The port of the shard of a process, given its rank and the number of processes. None: rank 0 has all shards."""
    transport: Callable[[Settings, PluginRegistry], Transport] = transport_of
    """Makes the transport of a shard from rank 1 on."""


class OtherShardSession(OtherRankSession):
    """The part of a process in the session of its site. It listens for other sites, and writes no file."""

    def __init__(
        self,
        group: ProcessGroup,
        parts: Parts,
        settings: Settings,
        port: ShardPort,
        exchange: ShardExchange,
        logger: logging.Logger,
    ) -> None:
        """Nothing is opened before ``begin``; as ``OtherRankSession``, with the port of the shard of this process."""
        super().__init__(group, parts, settings, give=None)
        self._port = port
        self._transport = exchange.transport
        self._log = logger
        self._layout: Layout | None = None
        self._peer: ShardPeer | None = None

    def _meet(self) -> None:
        require_same(self._group, self._parts, self._settings, sharded=True)
        layout = self._layout = meet_layout(self._group, self._port)
        self._store = ShardStore(self._port.schema())
        self._peer = be_directed(
            self._group,
            self._settings,
            PluginRegistry(self._settings.disabled_plugins),
            layout,
            self._store,
            self._transport,
            ThreadExecutor(),
            self._log,
        )

    def _stop(self) -> None:
        super()._stop()
        if self._peer:
            self._peer.close()

    def _do(self, instruction: Instruction) -> None:
        kind, content, port, group = instruction.kind, instruction.content, self._port, self._group
        match kind:
            case Kind.READ:
                port.read(self._store.memory(content["model"]))
                group.gather(b"")
            case Kind.WRITE:
                port.write(self._store.get(content["model"]).contributed())
                self._take_common(kept=True)
            case Kind.UPDATE:
                port.update(self._store.get(content["model"]).contributed())
                self._take_common(kept=False)
            case Kind.ADD:
                new, old = (self._store.get(content[name]).contributed() for name in ("new", "old"))
                port.add(ArrivingModel(new.schema, differences(new, old)))
                self._take_common(kept=False)
            case Kind.KEEP_TRAINING:
                all_do(group, lambda: self._keep_training(content["state"]))
            case Kind.TRAINING:
                all_do(group, lambda: self._set_training(content["state"]))
            case Kind.GATHER:
                self._give_parts(content)
            case _:
                super()._do(instruction)

    def _take_common(self, *, kept: bool) -> None:
        """Take what all processes have from rank 0, and tell that this one is done."""
        layout = self._known
        self._port.set_common(self._common(layout), kept=kept)
        self._group.gather(b"")

    def _common(self, layout: Layout) -> Iterator[Array]:
        for index in layout.common():
            spec = layout.whole.tensors[index]
            array = np.empty(spec.shape, numpy_dtype(spec.dtype))
            self._group.share(array)
            yield array

    def _keep_training(self, number: int) -> None:
        if self._parts.training:
            self._store.keep_training(number, self._parts.training.read())

    def _set_training(self, number: int) -> None:
        if self._parts.training:
            self._parts.training.write(self._store.training(number))

    def _give_parts(self, content: Mapping[str, Any]) -> None:
        model = self._store.get(content["model"]).of_model()
        for _ in gathered(self._group, self._known, model, content["order"]):
            pass

    @property
    def _known(self) -> Layout:
        if self._layout is None:
            raise ValueError("nothing is told before the begin")
        return self._layout

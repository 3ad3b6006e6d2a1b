"""A site that has all shards of its model in rank 0, among sites of which each process exchanges its own.

Rank 0 exchanges each shard with the processes of that rank at the other sites, as so many processes would: with a
``ShardPeer`` for each further shard, which it directs over a link within the process.
"""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import Pipe  # noqa: TID251 - a link calls recv_bytes only
from typing import TYPE_CHECKING

from swarm.executor import ThreadExecutor
from swarm.plugins import PluginRegistry
from swarm.ranks.directed import DirectedRanks, number_of, numbers_of
from swarm.ranks.joined import JoinedModel
from swarm.ranks.layout import Layout
from swarm.ranks.link import Link
from swarm.ranks.meeting import of_rank
from swarm.ranks.shard_checkpoints import ShardCheckpoints
from swarm.ranks.shard_peer import ShardPeer
from swarm.ranks.shard_store import ShardStore
from swarm.ranks.zero import RankZeroSession
from swarm.session.arithmetic import differences
from swarm.session.shards import SiteShards
from swarm.storage.files import write_parts
from swarm.storage.places import state_directory
from swarm.storage.writer import Writer
from swarm.tensors.model import ModelPort
from swarm.tensors.state import ModelState

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping
    from multiprocessing.connection import Connection  # noqa: TID251 - a link calls recv_bytes only
    from pathlib import Path

    from swarm.config import Settings
    from swarm.ranks.base import MakeSession, Parts
    from swarm.ranks.group import ProcessGroup
    from swarm.ranks.link import Connect
    from swarm.storage.checkpoints import CheckpointStore
    from swarm.tensors.state import Schema
    from swarm.transport.base import Transport

    MakeTransport = Callable[[Settings, PluginRegistry], Transport]

PART = "shard"
"""What messages call each of them."""


class AllShards(SiteShards):
    """The shards from rank 1 on, each with what exchanges it. Complete after ``open``."""

    ranks: DirectedRanks
    table: Layout
    """Which shard has which rows of each tensor."""

    def __init__(self, port: ModelPort, settings: Settings, transport: MakeTransport, logger: logging.Logger) -> None:
        """Nothing is opened yet.

        Args:
            port: of the whole model.
            settings: of the site.
            transport: makes the transport of a further shard.
            logger: where to report.
        """
        self.port = port
        self._settings = settings
        self._transport = transport
        self._log = logger
        self._peers: list[ShardPeer] = []
        self._stores: list[ShardStore] = []
        self._opened = False

    def open(self) -> None:
        """Divide the model, and listen for the other sites.

        Raises:
            ConfigurationError: the model cannot be exchanged in so many shards, or ``max_mbit`` is too low for them.
            AddressError: an address cannot be listened on.
        """
        self.table = Layout.even(self.port.schema(), int(self._settings.exchange_shards))
        self.whole, self.layout = self.table.whole, self.table.told
        plugins, executor = PluginRegistry(self._settings.disabled_plugins), ThreadExecutor()
        links: list[Connect] = []
        for rank in range(1, self.table.ranks):
            schema, own = self.table.shard(rank), of_rank(self._settings, rank, self.table.ranks)
            store, transport = ShardStore(schema), self._transport(own, plugins)
            peer = ShardPeer(rank, transport, own, plugins, schema, store, executor, self._log, PART)
            self._peers.append(peer)
            self._stores.append(store)
            here, there = Pipe()
            peer.link = Link(_gives(there), peer.hear, lambda _: None)
            links.append(_gives(here))
        self.ranks = DirectedRanks([peer.address for peer in self._peers], links, PART)
        self._opened = True

    def close(self) -> None:
        """Leave the network; idempotent."""
        if self._opened:
            self.ranks.close()
        for peer in self._peers:
            peer.close()

    def joined(self, model: ModelState) -> JoinedModel:
        """The whole model of which ``model`` is the first shard."""
        number = number_of(model.others)
        shards = [model, *(store.get(number).of_model() for store in self._stores)]
        return JoinedModel(self.table, lambda: [shard.arrays() for shard in shards])

    def joined_step(self, step: ModelState) -> JoinedModel:
        """The whole difference of two models, of which ``step`` is that of the first shards."""
        numbers = numbers_of(step)
        pairs = [tuple(store.get(numbers[name]).of_model() for name in ("new", "old")) for store in self._stores]
        return JoinedModel(self.table, lambda: [step.arrays(), *(differences(new, old) for new, old in pairs)])

    def memory(self, first: ModelState) -> JoinedModel:
        """The whole model that will be in the memory of ``first``, and in that of the further shards."""
        first.others = first.others or self.ranks.new_memory()
        number = number_of(first.others)
        for store in self._stores:
            store.memory(number)
        return self.joined(first)

    def of_process(self, settings: Settings) -> Settings:
        return of_rank(settings, 0, self.table.ranks)

    def checkpoints(self, settings: Settings) -> CheckpointStore | None:
        if settings.model_dir is None:
            return None
        return ShardCheckpoints(state_directory(settings), settings.name, self.ranks, self.layout, each=False)

    def writer(self, directory: Path, logger: logging.Logger) -> Writer:
        return JoinedWriter(self, directory, logger)


def _gives(end: Connection) -> Connect:
    return lambda: end


class AllShardsPort(ModelPort):
    """The whole model, as the shards that a session works on."""

    def __init__(self, site: AllShards) -> None:
        self._site = site

    def schema(self) -> Schema:
        return self._site.table.shard(0)

    def read(self, into: ModelState) -> None:
        site, memory = self._site, self._site.memory(into)
        arrays = site.port.borrow(site.whole)
        if arrays is None:
            model = ModelState.empty(site.whole)
            site.port.read(model)
            arrays = [array for _, array in model.arrays()]
        memory.fill(arrays)

    def write(self, state: ModelState) -> None:
        self._site.port.write(self._site.joined(state))

    def update(self, state: ModelState) -> None:
        self._site.port.update(self._site.joined(state))

    def add(self, step: ModelState) -> None:
        self._site.port.add(self._site.joined_step(step))


class JoinedWriter(Writer):
    """Writes whole models from the shards."""

    def __init__(self, site: AllShards, directory: Path, logger: logging.Logger) -> None:
        super().__init__(directory, logger)
        self._site = site

    def write(self, name: str, model: ModelState, about: Mapping[str, str]) -> None:
        whole = self._site.joined(model)
        self._start(name, lambda path: write_parts(path, whole.schema, whole.in_file(), about))


class AllShardsSession(RankZeroSession):
    """The session of rank 0, or of the only process, that has all shards."""

    def __init__(
        self,
        group: ProcessGroup,
        make: MakeSession,
        parts: Parts,
        settings: Settings,
        logger: logging.Logger,
        *,
        sharded: bool,
        transport: MakeTransport,
    ) -> None:
        """Nothing is told yet; as ``RankZeroSession``, with what makes the transport of a further shard."""
        self._transport = transport
        super().__init__(group, make, parts, settings, logger, sharded=sharded)

    def _parts_of_all(self, parts: Parts) -> Parts:
        parts = super()._parts_of_all(parts)
        self._site = AllShards(parts.port, self._settings, self._transport, self._log)
        return parts._replace(port=AllShardsPort(self._site), shards=self._site)

    def _begin(self) -> None:
        self._site.open()
        self._site.ranks.lost = self._lose
        super()._begin()

    def abort(self, reason: str, *, unintended: bool = False) -> None:
        super().abort(reason, unintended=unintended)
        self._site.close()

    def _part(self) -> None:
        self._site.close()
        super()._part()

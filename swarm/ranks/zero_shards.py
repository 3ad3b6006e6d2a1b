"""The model of a site that exchanges shards, in rank 0: what is done to its shard, the others do to theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from swarm.ranks.directed import DirectedRanks, number_of, numbers_of
from swarm.ranks.gathering import gathered
from swarm.ranks.instructions import Kind
from swarm.ranks.meeting import direct, meet_layout, of_rank
from swarm.ranks.same import require_same
from swarm.ranks.shard_checkpoints import ShardCheckpoints
from swarm.ranks.shard_training import RankZeroShardTraining
from swarm.ranks.zero import RankZeroSession
from swarm.session.shards import SiteShards
from swarm.storage.files import stored_tensors, write_parts
from swarm.storage.places import state_directory
from swarm.storage.writer import Writer
from swarm.tensors.model import ModelPort

if TYPE_CHECKING:
    import logging
    from pathlib import Path

    from swarm.config import Settings
    from swarm.ranks.base import MakeSession, Parts
    from swarm.ranks.group import ProcessGroup
    from swarm.ranks.layout import Layout
    from swarm.ranks.shard_port import ShardPort
    from swarm.ranks.voice import Voice
    from swarm.storage.checkpoints import CheckpointStore
    from swarm.tensors.state import ModelState, Schema


class ZeroShards(SiteShards):
    """The site of rank 0. The processes meet in ``meet``."""

    ranks: DirectedRanks
    table: Layout
    """Which process has which rows of each tensor."""

    def __init__(self, port: ShardPort, voice: Voice) -> None:
        """Nothing is told yet.

        Args:
            port: of the shard of this process.
            voice: tells the others.
        """
        self.port = port
        self.voice = voice
        self._met = False

    def meet(self) -> None:
        """Meet the other processes.

        Raises:
            SwarmError: as ``meet_layout`` and ``direct``.
        """
        self.table = meet_layout(self.voice.group, self.port)
        self.whole, self.layout = self.table.whole, self.table.told
        self.ranks = direct(self.voice.group)
        self._met = True

    def close(self) -> None:
        """Direct the others no more; idempotent."""
        if self._met:
            self.ranks.close()

    def of_process(self, settings: Settings) -> Settings:
        return of_rank(settings, 0, self.table.ranks)

    def checkpoints(self, settings: Settings) -> CheckpointStore | None:
        if settings.model_dir is None:
            return None
        return ShardCheckpoints(state_directory(settings), settings.name, self.ranks, self.layout)

    def writer(self, directory: Path, logger: logging.Logger) -> Writer:
        return WholeWriter(self, directory, logger)


class RankZeroShardPort(ModelPort):
    """The model of all processes. Each reads and sets its shard; what all have, they take from rank 0."""

    def __init__(self, site: ZeroShards) -> None:
        self._site = site
        self._port = site.port

    def schema(self) -> Schema:
        return self._port.schema()

    def read(self, into: ModelState) -> None:
        into.others = into.others or self._site.ranks.new_memory()
        with self._site.voice.telling(Kind.READ, {"model": number_of(into.others)}) as group:
            self._port.read(into)
            group.gather(b"")  # until all are done, so that rank 0 may refer to what they have

    def write(self, state: ModelState) -> None:
        with self._setting(Kind.WRITE, {"model": number_of(state.others)}):
            self._port.write(state)

    def update(self, state: ModelState) -> None:
        with self._setting(Kind.UPDATE, {"model": number_of(state.others)}):
            self._port.update(state)

    def add(self, step: ModelState) -> None:
        with self._setting(Kind.ADD, numbers_of(step)):
            self._port.add(step)

    @contextmanager
    def _setting(self, kind: Kind, content: Mapping[str, int]) -> Iterator[None]:
        with self._site.voice.telling(kind, {**content}) as group:
            yield
            for array in self._port.common():
                group.share(np.ascontiguousarray(array))
            group.gather(b"")


class WholeWriter(Writer):
    """Writes whole models from the shards of all processes, part by part, while the training thread waits."""

    def __init__(self, site: ZeroShards, directory: Path, logger: logging.Logger) -> None:
        super().__init__(directory, logger)
        self._site = site
        self._written: set[str] = set()

    @property
    def busy(self) -> bool:
        return False

    def write(self, name: str, model: ModelState, about: Mapping[str, str]) -> None:
        site = self._site
        order = [index for _, index in stored_tensors(site.whole)]
        with site.voice.telling(Kind.GATHER, {"model": number_of(model.others), "order": order}) as group:
            parts = gathered(group, site.table, model, order)
            try:
                write_parts(self._directory / name, site.whole, parts, about)
                self._written.add(name)
            except OSError as error:
                self._log.error("%s was not written to %s: %s", name, self._directory, error)
            for _ in parts:  # the others take part in the rest too
                pass

    def wait(self, patience: float) -> set[str]:
        return set(self._written)


class ShardZeroSession(RankZeroSession):
    """The session of rank 0 that takes part in the swarm with its shard, and directs the other processes."""

    def __init__(
        self,
        group: ProcessGroup,
        make: MakeSession,
        parts: Parts,
        settings: Settings,
        logger: logging.Logger,
        port: ShardPort,
    ) -> None:
        """Nothing is told yet; as ``RankZeroSession``, with the port of the shard of this process."""
        self._shard_port = port
        super().__init__(group, make, parts, settings, logger, sharded=True)

    def _parts_of_all(self, parts: Parts) -> Parts:
        self._site = ZeroShards(self._shard_port, self._voice)
        own = self._parts.training
        training = RankZeroShardTraining(own, self._voice, lambda: self._site.ranks) if own else None
        return parts._replace(port=RankZeroShardPort(self._site), training=training, shards=self._site)

    def _meet(self) -> None:
        require_same(self._group, self._parts, self._settings, sharded=True)
        self._site.meet()
        self._site.ranks.lost = self._lose

    def abort(self, reason: str, *, unintended: bool = False) -> None:
        super().abort(reason, unintended=unintended)
        self._site.close()

    def _part(self) -> None:
        self._site.close()
        super()._part()

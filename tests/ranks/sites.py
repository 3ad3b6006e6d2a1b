"""Sites whose processes are threads of the test, in a swarm in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from swarm.config import Settings, resolve
from swarm.errors import RanksError
from swarm.plugins import PluginRegistry
from swarm.ranks import Parts, ProcessGroup, SeveralProcesses, ShardExchange, ShardPort
from swarm.ranks.layout import Layout
from swarm.session import Session
from swarm.session.wiring import Network
from swarm.tensors.selection import Normalization, Selection
from swarm.tensors.state import Array, ModelState, Schema, TensorSpec
from swarm.testing.swarm import ArrayModel, Board, MemorySwarm, _logger, together
from swarm.transport.memory import MemoryTransport

PATIENCE = 25.0
"""Seconds after which a test has failed."""


class Meeting:
    """Where the processes of a site meet for each operation."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.parts: list[bytes] = [b""] * size
        self.operations = 0
        self._changed = threading.Condition()
        self._waiting = self._met = 0
        self._closed = False

    def wait(self) -> bool:
        """Wait for all; whether they came. Who has met them before one of them closed has met them."""
        with self._changed:
            met = self._met
            self._waiting += not self._closed
            if self._waiting == self.size:
                self._waiting, self._met = 0, met + 1
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._met > met or self._closed, PATIENCE)
            return self._met > met

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class ThreadGroup(ProcessGroup):
    """Processes that are threads. ``time_out`` is only told: a test does not depend on time."""

    def __init__(self, meeting: Meeting, rank: int, time_out: float = 1800.0) -> None:
        self._meeting = meeting
        self.rank, self.size, self.time_out = rank, meeting.size, time_out

    def share(self, array) -> None:
        self._meet(array.tobytes() if self.rank == 0 else b"")
        if self.rank:
            array.reshape(-1).view(np.uint8)[...] = np.frombuffer(self._meeting.parts[0], np.uint8)
        self._wait()

    def gather(self, data: bytes) -> list[bytes]:
        self._meet(data)
        parts = [*self._meeting.parts]
        self._wait()
        return parts

    def close(self) -> None:
        self._meeting.close()

    def _meet(self, data: bytes) -> None:
        self._meeting.parts[self.rank] = data
        self._wait()
        if self.rank == 0:
            self._meeting.operations += 1

    def _wait(self) -> None:
        if not self._meeting.wait():
            raise RanksError(f"rank {self.rank}: the others are gone")


class ArrayShard(ShardPort):
    """The rows of a model of arrays that one process has; the rest of its arrays is never looked at."""

    def __init__(self, model: ArrayModel, rank: int, size: int) -> None:
        self._model, self._rank, self._size = model, rank, size

    def whole(self) -> Schema:
        return self._model.schema()

    def rows(self) -> list[int | None]:
        return [None if span is None else span.stop - span.start for span in self.spans()]

    def schema(self) -> Schema:
        return Schema(tuple(spec for spec, _ in self._parts()))

    def read(self, into: ModelState) -> None:
        for (_, mine), (_, array) in zip(self._parts(), into.arrays(), strict=True):
            array[...] = mine

    def write(self, state: ModelState) -> None:
        for (_, mine), (_, array) in zip(self._parts(), state.arrays(), strict=True):
            mine[...] = array

    def common(self) -> Iterator[Array]:
        return (array for _, array in self._common())

    def set_common(self, arrays: Iterable[Array], *, kept: bool) -> None:
        for (spec, mine), array in zip(self._common(), arrays, strict=True):
            if kept or not spec.kept:
                mine[...] = array

    def spans(self) -> list[slice | None]:
        """The rows of this process, tensor by tensor; None where all processes have it."""
        rank = self._rank
        layout = Layout.even(self.whole(), self._size)
        return [
            None if all_rows[rank] is None else slice(sum(all_rows[:rank]), sum(all_rows[: rank + 1]))
            for all_rows in layout.rows
        ]

    def _parts(self) -> Iterator[tuple[TensorSpec, Array]]:
        for spec, span in zip(self.whole().tensors, self.spans(), strict=True):
            array = self._model.arrays[spec.name]
            if span is not None:
                array = array[span]
            if array.size and (span is not None or self._rank == 0):
                yield replace(spec, shape=array.shape), array

    def _common(self) -> Iterator[tuple[TensorSpec, Array]]:
        for spec, span in zip(self.whole().tensors, self.spans(), strict=True):
            if span is None and spec.size:
                yield spec, self._model.arrays[spec.name]


@dataclass
class Rank:
    """One process of a site: its session and its model."""

    session: Any
    model: ArrayModel
    group: ThreadGroup
    lines: list[str]
    opened: list[Session]
    """The sessions of the site that take part in the swarm."""
    reads: list[int] = field(default_factory=list)

    def train(self, batches: int, step: Callable[[Rank, int], None]) -> None:
        """A whole run; the session is called where its callback would call it."""
        self.session.begin()
        self.go_on(batches, step)
        self.session.end()

    def go_on(self, batches: int, step: Callable[[Rank, int], None]) -> None:
        counted = 0
        for batch in range(batches):
            step(self, batch)
            counted += 1
            if counted >= self.session.batches_left:
                self.session.advance(counted)
                counted = 0
        if counted:
            self.session.advance(counted, at_boundary=False)


class Sites:
    """A swarm in memory, some of whose sites have several processes."""

    def __init__(self, **settings: Any) -> None:
        self._swarm = MemorySwarm(**settings)
        self._settings = settings
        self.asked: list[Settings] = []
        """With which transports of sites were made."""

    def _transport(self, settings: Settings) -> MemoryTransport:
        self.asked.append(settings)
        return MemoryTransport(self._swarm.network)

    def peer(self, name: str, arrays: Mapping[str, Any], **settings: Any):
        """A site of one process."""
        return self._swarm.peer(name, arrays, **settings)

    def site(
        self,
        name: str,
        arrays: Mapping[str, Any],
        *,
        size: int = 2,
        time_out: float = 1800.0,
        sharded: bool = False,
        shard: Callable[[ArrayModel, int, int], ShardPort] | None = None,
        has_all: bool = False,
        evaluate: Callable[[int], Any] = lambda rank: None,
        correction: Callable[[int], Any] = lambda rank: None,
        training: Callable[[int], Any] = lambda rank: None,
        port: Callable[[int, ArrayModel], Any] = lambda rank, model: model,
        per_rank: Callable[[int], Mapping[str, Any]] = lambda rank: {},
        kinds: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> list[Callable[[Callable[[Rank], Any]], Any]]:
        """For each rank a function that calls what it is given with that rank, in a thread of its own.

        Where it ``has_all`` shards, rank 0 exchanges them; with ``shard`` each process exchanges its own.
        """
        meeting = Meeting(size)
        opened: list[Session] = []

        def run(rank: int, program: Callable[[Rank], Any]) -> Any:
            given = {"listen": "127.0.0.1:0", **self._settings, **settings, "name": name, **per_rank(rank)}
            resolved = resolve(given, environment={}, directory=Path("no swarm.toml here")).settings
            lines: list[str] = []
            logger = _logger(f"{name}-{rank}", lines)
            selection = Selection(resolved.share, resolved.local, Normalization(resolved.normalization))
            model = ArrayModel(arrays, kinds, selection)
            board = Board(self._swarm.addresses, resolved.model_name)

            def make(parts: Parts) -> Session:
                opened.append(
                    Session(
                        resolved,
                        parts.port,
                        evaluate=parts.evaluate,
                        correction=parts.correction,
                        training=parts.training,
                        logger=logger,
                        plugins=PluginRegistry(resolved.disabled_plugins),
                        network=lambda settings, _plugins: Network(self._transport(settings), [board]),
                        shards=parts.shards,
                    )
                )
                return opened[-1]

            group = ThreadGroup(meeting, rank, time_out)
            mine = Rank(None, model, group, lines, opened)
            exchange = None
            if shard or has_all:
                given_port = partial(shard, model) if shard else None
                exchange = ShardExchange(given_port, lambda settings, _: self._transport(settings))
            ranks = SeveralProcesses(lambda: group, (lambda: mine.reads.append(1)) if sharded else None, exchange)
            parts = Parts(port(rank, model), evaluate(rank), correction(rank), training(rank))
            mine.session = ranks.session(make, parts, resolved, logger)
            try:
                return program(mine)
            except BaseException:
                mine.session.abort("the test failed")
                raise

        return [partial(run, rank) for rank in range(size)]


def all_of(*ranks_and_programs) -> list[Any]:
    """Run ``(ranks, program)`` of each site, and other programs, at the same time."""
    programs = []
    for each in ranks_and_programs:
        programs += [partial(rank, each[1]) for rank in each[0]] if isinstance(each, tuple) else [each]
    return together(*programs, deadline=PATIENCE)

"""Disks: what each peer has written outlives its processes."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swarm.storage.checkpoints import CheckpointStore, Doubt, Found, trusted
from swarm.storage.ledger import Head, MemoryLedger
from tests.simulator.faults import FaultKind
from tests.simulator.violation import Violation

if TYPE_CHECKING:
    from swarm.records import Commit, PeerId
    from swarm.tensors.state import ModelState, Schema
    from tests.simulator.executor import SimulatedExecutor
    from tests.simulator.loop import Loop
    from tests.simulator.plan import Schedule

WRITING = 0.05
"""Seconds at most to write a checkpoint to a disk that works."""
WRITING_SLOWLY = 8.0


class Disks:
    """The newest whole checkpoint of each peer, and how its disk behaves."""

    def __init__(self, loop: Loop, schedule: Schedule, rng: random.Random) -> None:
        self.newest: dict[PeerId, Found] = {}
        self.kept: dict[PeerId, ModelState] = {}
        """What each site keeps for itself."""
        self.best: dict[PeerId, tuple[str, ModelState]] = {}
        """The best model of each peer, with its digest."""
        self.ledgers: dict[PeerId, MemoryLedger] = {}
        self._loop = loop
        self._rng = rng
        self._slow = [fault for fault in schedule.faults if fault.kind is FaultKind.SLOW_DISK]
        self._full = [fault for fault in schedule.faults if fault.kind is FaultKind.FULL_DISK]

    def ledger(self, name: PeerId) -> MemoryLedger:
        """The ledger of a peer."""
        return self.ledgers.setdefault(name, MemoryLedger())

    def seconds(self) -> float:
        """How long the next write takes."""
        return self._rng.random() * (WRITING_SLOWLY if self._loop.during(self._slow) else WRITING)

    @property
    def full(self) -> bool:
        """Whether there is no room on any disk."""
        return self._loop.during(self._full)


@dataclass(frozen=True, slots=True)
class SimulatedStore(CheckpointStore):
    """The disk of one peer, as one of its processes sees it."""

    disks: Disks
    name: PeerId
    executor: SimulatedExecutor

    def write(self, commit: Commit, model: ModelState, head: Head | None) -> None:
        self.executor.sleep(self.disks.seconds())  # what is not complete when the process dies does not count
        if self.disks.full:
            raise OSError("no space left on device")
        self.disks.newest[self.name] = commit, model

    def newest(
        self, schema: Schema, logger: logging.Logger, doubt: Doubt = trusted
    ) -> tuple[Commit, ModelState] | None:
        found = self.disks.newest.get(self.name)
        if found and (reason := doubt(found[0])):
            raise Violation("Durability", f"{self.name} cannot resume: {reason}")
        return found

    def write_kept(self, kept: ModelState) -> None:
        self.disks.kept[self.name] = kept

    def kept(self, schema: Schema, logger: logging.Logger) -> ModelState | None:
        return self.disks.kept.get(self.name)

    def write_best(self, digest: str, best: ModelState) -> None:
        self.disks.best[self.name] = digest, best

    def best(self, digest: str, schema: Schema, logger: logging.Logger) -> ModelState | None:
        found = self.disks.best.get(self.name)
        return found[1] if found and found[0] == digest else None

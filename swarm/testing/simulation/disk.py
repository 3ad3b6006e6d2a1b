"""Checkpoints as bookkeeping: what each peer's disk holds, which outlives its processes."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from swarm.records import Commit, PeerId
from swarm.testing.simulation.faults import FaultKind
from swarm.testing.simulation.loop import Loop
from swarm.testing.simulation.plan import Schedule

if TYPE_CHECKING:
    from swarm.testing.simulation.peer import SimulatedPeer

WRITING = 0.05
"""Seconds at most to write a checkpoint to a disk that works."""
WRITING_SLOWLY = 8.0


class Disks:
    """The newest whole checkpoint of each peer."""

    def __init__(self, loop: Loop, schedule: Schedule, rng: random.Random) -> None:
        self._loop = loop
        self._rng = rng
        self._newest: dict[PeerId, Commit] = {}
        self._slow = [fault for fault in schedule.faults if fault.kind is FaultKind.SLOW_DISK]
        self._full = [fault for fault in schedule.faults if fault.kind is FaultKind.FULL_DISK]

    def newest(self, name: PeerId) -> Commit | None:
        """What a process of that name can go on from."""
        return self._newest.get(name)

    @property
    def seconds(self) -> float:
        """How long the next write takes."""
        now = self._loop.now
        slow = any(fault.at <= now < fault.end for fault in self._slow)
        return self._rng.random() * (WRITING_SLOWLY if slow else WRITING)

    def write(self, name: PeerId, commit: Commit) -> None:
        """A checkpoint is complete, unless there is no room for its end."""
        now = self._loop.now
        if not any(fault.at <= now < fault.end for fault in self._full):
            self._newest[name] = commit


class Checkpointing:
    """One process's writing to its disk. Mirrors :class:`swarm.storage.checkpoints.Checkpoints`."""

    def __init__(self, disks: Disks, process: SimulatedPeer, loop: Loop, every: float) -> None:
        self._disks = disks
        self._process = process
        self._loop = loop
        self._every = every
        self._due = process.now
        self._waiting: Commit | None = None
        self._writing = False

    def offer(self, commit: Commit) -> None:
        """A round is committed; its model is written soon, unless the last one was just now."""
        if not commit.closing and self._process.now < self._due:
            return
        self._due = self._process.now + self._every
        self._waiting = commit
        self._next()

    def _next(self) -> None:
        if self._waiting and not self._writing:
            commit, self._waiting, self._writing = self._waiting, None, True
            # What is not complete when the process dies does not count.
            self._loop.after(self._disks.seconds, lambda: self._process.do(lambda: self._written(commit)))

    def _written(self, commit: Commit) -> None:
        self._writing = False
        self._disks.write(self._process.name, commit)
        self._next()

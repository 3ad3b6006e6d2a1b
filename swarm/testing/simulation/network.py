"""The simulated network: delays, loses, doubles and reorders messages, and is cut in two at times."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from swarm.messages import Envelope
from swarm.records import PeerId
from swarm.testing.simulation.faults import CUTS, Fault, FaultKind
from swarm.testing.simulation.loop import Loop
from swarm.testing.simulation.plan import Schedule

if TYPE_CHECKING:
    from swarm.testing.simulation.peer import SimulatedPeer

RESET = 0.1
"""Seconds within which a broken connection is noticed where both ends can be reached."""
LOST_AT_TIMES = 0.33
"""Share of the messages that a lossy network loses."""
ASTRAY = 0.1
"""Share of the messages that reach a process of the other session as well, where they go astray."""


class Network:
    """Knows the process behind each name, and what happens to what is sent to it."""

    def __init__(self, loop: Loop, schedule: Schedule, rng: random.Random) -> None:
        self.processes: dict[PeerId, SimulatedPeer] = {}
        """The process last started under each name."""
        self._loop = loop
        self._schedule = schedule
        self._rng = rng
        self._partitions = [fault for fault in schedule.faults if fault.kind in CUTS]
        self._deaf: list[Fault] = []
        self._lossy = [fault for fault in schedule.faults if fault.kind is FaultKind.LOSSY]
        self._astray = [fault for fault in schedule.faults if fault.kind is FaultKind.STRAYS]

    def alive(self, name: PeerId) -> SimulatedPeer | None:
        """The running process of that name."""
        process = self.processes.get(name)
        return process if process and process.running else None

    def connected(self, one: PeerId, two: PeerId) -> bool:
        """Whether no partition lies between two peers."""
        now = self._loop.now
        for cut in self._partitions:
            if cut.at <= now < cut.end and (one in cut.peers) != (two in cut.peers):
                return False
        return True

    def hears(self, one: PeerId, two: PeerId) -> bool:
        """Whether messages pass between two peers."""
        now = self._loop.now
        for fault in self._deaf:
            if fault.at <= now < fault.end and (one in fault.peers or two in fault.peers):
                return False
        return self.connected(one, two)

    def deafen(self, fault: Fault) -> None:
        """From now on, ``fault.peers`` and the others do not hear each other for a while."""
        self._deaf.append(fault)
        for one in list(self.processes.values()):
            for two in list(self.processes.values()):
                if one is not two and one.running and {one.name, two.name} & {*fault.peers}:
                    self._tell_lost(one, two, self._rng.random() * fault.seconds)

    def send(self, source: SimulatedPeer, to: PeerId, incarnation: str, envelope: Envelope) -> None:
        """Carry a message, perhaps; to whoever has that name where no ``incarnation`` is given."""
        rng, plan = self._rng, self._schedule
        loss = plan.loss
        if self._lossy and self._at_work(self._lossy):
            loss = max(loss, LOST_AT_TIMES)
        for _ in range(2 if plan.duplicates and rng.random() < plan.duplicates else 1):
            if not loss or rng.random() >= loss:
                wait = plan.delay * rng.expovariate(1.0)
                self._loop.after(wait, lambda: self._deliver(source, to, incarnation, envelope))
        if self._astray and rng.random() < ASTRAY and self._at_work(self._astray):
            others = [name for name in self.processes if self.processes[name].rules.session != envelope.session]
            if others:
                stray = rng.choice(others)
                self._loop.after(plan.delay, lambda: self._deliver(source, stray, "", envelope))

    def _at_work(self, faults: list[Fault]) -> bool:
        return any(fault.at <= self._loop.now < fault.end for fault in faults)

    def _deliver(self, source: SimulatedPeer, to: PeerId, incarnation: str, envelope: Envelope) -> None:
        if not self.hears(source.name, to):
            return
        process = self.alive(to)
        if process is None or incarnation not in {"", process.incarnation}:
            source.do(lambda: source.contacts.lost(to, incarnation))
        else:
            process.do(lambda: process.contacts.receive(envelope))

    def vanished(self, process: SimulatedPeer) -> None:
        """A process is gone: those connected to it notice, soon or by its silence."""
        for other in list(self.processes.values()):
            if other is not process and other.running:
                soon = self.connected(other.name, process.name) and self._rng.random() < 0.9
                wait = self._rng.random() * RESET if soon else self._schedule.failure_timeout
                self._tell_lost(other, process, wait)

    def silent(self, process: SimulatedPeer) -> None:
        """A process stands still for longer than the failure timeout: the others give it up."""
        for other in list(self.processes.values()):
            if other is not process and other.running:
                self._tell_lost(other, process, self._rng.random() * RESET)

    def woke(self, process: SimulatedPeer) -> None:
        """It finds some of its connections broken."""
        for other in list(self.processes.values()):
            if other is not process and other.running and self._rng.random() < 0.5:
                self._tell_lost(process, other, self._rng.random() * RESET)

    def cut(self, fault: Fault) -> None:
        """A partition has lasted for the failure timeout."""
        for one in list(self.processes.values()):
            for two in list(self.processes.values()):
                if (one.name in fault.peers) != (two.name in fault.peers) and one.running:
                    self._tell_lost(one, two, self._rng.random() * RESET)

    def _tell_lost(self, observer: SimulatedPeer, lost: SimulatedPeer, wait: float) -> None:
        self._loop.after(wait, lambda: observer.do(lambda: observer.contacts.lost(lost.name, lost.incarnation)))

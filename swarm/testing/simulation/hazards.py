"""Strikes the faults of a schedule, at their time or at the moment that they wait for."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from swarm.messages import Proposal
from swarm.records import Commit, PeerId
from swarm.testing.simulation.faults import CUTS, Fault, FaultKind
from swarm.testing.simulation.plan import SESSION, STRANGERS

if TYPE_CHECKING:
    from swarm.testing.simulation.peer import SimulatedPeer
    from swarm.testing.simulation.world import World


class Hazards:
    """What goes wrong in a run."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.struck: Counter[str] = Counter()
        """How many faults of each kind there were."""
        self.deciding: list[Fault] = []
        """Crashes that wait for somebody to commit a round."""
        self._world = world
        self._rng = rng
        self._closing: list[Fault] = []
        self._deafening: list[Fault] = []
        self._boasting: set[PeerId] = set()
        self._lying: dict[PeerId, float] = {}

    def strike(self, fault: Fault) -> None:
        """The time of a fault has come."""
        world, timeout = self._world, self._world.schedule.failure_timeout
        self.struck[fault.kind.value] += 1
        world.note(f"FAULT {fault.kind} {' '.join(fault.peers)} for {fault.seconds:g} s")
        match fault.kind:
            case FaultKind.CRASH_DECIDING:
                self.deciding.append(fault)
            case FaultKind.CRASH_CLOSING:
                self._closing.append(fault)
            case FaultKind.DEAF:
                world.network.deafen(fault)
            case FaultKind.DEAF_DECIDING:
                self._deafening.append(fault)
            case FaultKind.BOAST:
                self._boasting.update(fault.peers)
            case FaultKind.LIE:
                self._lying.update(dict.fromkeys(fault.peers, fault.amount))
            case FaultKind.STRAYS:
                for plan in STRANGERS:
                    if plan.name not in world.network.processes:
                        world.start(plan)
            case FaultKind.FINISH:
                for process in self._all():
                    process.do(process.finish)
            case FaultKind.BLACKOUT:
                for process in self._all():
                    world.restart(process, fault.seconds * self._rng.random(), resume=True)
            case kind if kind in CUTS:
                if fault.seconds > timeout:
                    world.loop.after(timeout, lambda: world.network.cut(fault))
            case _:
                for name in fault.peers:
                    struck = world.network.alive(name)
                    if struck:
                        self._strike_process(struck, fault)

    def _all(self) -> list[SimulatedPeer]:
        processes = self._world.network.processes.values()
        return [process for process in processes if process.running and process.plan.session == SESSION]

    def _strike_process(self, process: SimulatedPeer, fault: Fault) -> None:
        world = self._world
        match fault.kind:
            case FaultKind.CRASH:
                process.stop("crashed")
            case FaultKind.RESTART | FaultKind.RESUME:
                world.restart(process, fault.seconds, resume=fault.kind is FaultKind.RESUME)
            case FaultKind.LEAVE:
                process.do(process.leave)
            case FaultKind.CLOCK_DRIFT:
                process.reset_clock(rate=fault.amount)
            case FaultKind.FREEZE | FaultKind.CLOCK_JUMP:
                process.freeze()
                timeout = world.schedule.failure_timeout
                if fault.seconds > timeout:
                    world.loop.after(timeout, lambda: world.network.silent(process))
                world.loop.after(fault.seconds, lambda: self._thaw(process, fault.amount))

    def _thaw(self, process: SimulatedPeer, ahead: float) -> None:
        if process.running:
            if ahead:
                process.reset_clock(ahead=ahead)
            process.thaw()
            self._world.network.woke(process)

    # What waits for its moment ---------------------------------------------------------------------------------------

    def boasts(self, name: PeerId) -> bool:
        """Whether this peer claims too much."""
        return name in self._boasting

    def claimed(self, name: PeerId, norm: float) -> float:
        """By how much this peer says that its weights have moved, where they have by ``norm``."""
        return norm * self._lying.get(name, 1.0)

    def exchanging(self, proposal: Proposal) -> None:
        """An exchange begins: if it is that of a closing round, a member may be about to die."""
        if proposal.closing and self._closing:
            world, plan, fault = self._world, self._world.schedule, self._closing.pop(0)
            victim = world.network.alive(self._rng.choice(proposal.group))
            if victim:
                wait = self._rng.random() * (plan.transfer + 8 * plan.delay)
                world.loop.after(wait, lambda: self._die(victim, fault))

    def committed(self, process: SimulatedPeer, commit: Commit) -> None:
        """A process commits a round."""
        others = [name for name in commit.group if name != process.name]
        if self._deafening and others:
            fault = self._deafening.pop(0)
            self._world.network.deafen(replace(fault, at=self._world.loop.now, peers=(self._rng.choice(others),)))

    def die_deciding(self, process: SimulatedPeer) -> None:
        """A process dies before anybody hears of what it has committed."""
        self._die(process, self.deciding.pop(0))

    def _die(self, process: SimulatedPeer, fault: Fault) -> None:
        if not process.running:
            return
        if fault.seconds:
            self._world.restart(process, fault.seconds)
        else:
            process.stop("crashed")

"""Strikes the faults of a schedule, at their time or at the moment that they wait for."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from swarm.messages import Decide, Proposal
from swarm.records import Commit, PeerId
from tests.simulator.faults import CUTS, Fault, FaultKind
from tests.simulator.plan import SESSION, STRANGERS

if TYPE_CHECKING:
    from tests.simulator.loop import Loop
    from tests.simulator.network import Network
    from tests.simulator.plan import PeerPlan, Schedule
    from tests.simulator.process import Process


class Stage(Protocol):
    """The run that faults strike."""

    schedule: Schedule
    loop: Loop
    network: Network
    processes: dict[PeerId, Process]
    """The process last started under each name."""

    def note(self, text: str) -> None:
        """Tell what happens."""
        ...

    def start(self, plan: PeerPlan, *, resume: bool = False) -> None:
        """Start a process."""
        ...

    def restart(self, process: Process, seconds: float, *, resume: bool = False) -> None:
        """A process dies, and another takes its place."""
        ...


class Hazards:
    """What goes wrong in a run."""

    def __init__(self, world: Stage, rng: random.Random) -> None:
        self.struck: Counter[str] = Counter()
        """How many faults of each kind there were."""
        self.calm_from = 0.0
        """When the last fault is over that has waited for its moment."""
        self._world = world
        self._rng = rng
        self._deciding: list[Fault] = []
        self._closing: list[Fault] = []
        self._deafening: list[Fault] = []
        self._cutting: list[Fault] = []
        self._dishonest: defaultdict[PeerId, list[Fault]] = defaultdict(list)

    def strike(self, fault: Fault) -> None:
        """The time of a fault has come."""
        world = self._world
        self.struck[fault.kind.value] += 1
        world.note(f"FAULT {fault.kind} {' '.join(fault.peers)} for {fault.seconds:g} s")
        match fault.kind:
            case FaultKind.CRASH_DECIDING:
                self._deciding.append(fault)
            case FaultKind.CRASH_CLOSING:
                self._closing.append(fault)
            case FaultKind.DEAF:
                world.network.deafen(fault)
            case FaultKind.DEAF_DECIDING:
                self._deafening.append(fault)
            case FaultKind.CUT_DECIDING:
                self._cutting.append(fault)
            case FaultKind.BOAST | FaultKind.LIE:
                self._dishonest[fault.peers[0]].append(fault)
                for process in self._all():
                    self.started(process)
            case FaultKind.STRAYS:
                for plan in STRANGERS:
                    if plan.name not in world.processes:
                        world.start(plan)
            case FaultKind.FINISH:
                for process in self._all():
                    process.do(process.finish)
            case FaultKind.BLACKOUT:
                for process in self._all():
                    world.restart(process, fault.seconds * self._rng.random(), resume=True)
            case kind if kind in CUTS:
                world.network.cut(fault)
            case _:
                for name in fault.peers:
                    struck = world.processes.get(name)
                    if struck and struck.running:
                        self._strike_process(struck, fault)

    def _all(self) -> list[Process]:
        processes = self._world.processes.values()
        return [process for process in processes if process.running and process.plan.session == SESSION]

    def _strike_process(self, process: Process, fault: Fault) -> None:
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
                    world.loop.after(timeout, lambda: world.network.silent(process.transport))
                world.loop.after(fault.seconds, lambda: self._thaw(process, fault.amount))

    def _thaw(self, process: Process, ahead: float) -> None:
        if process.running:
            if ahead:
                process.reset_clock(ahead=ahead)
            process.thaw()
            self._world.network.woke(process.transport)

    # What waits for its moment ---------------------------------------------------------------------------------------

    def started(self, process: Process) -> None:
        """A process that takes the place of a dishonest one is dishonest too."""
        for fault in self._dishonest[process.name]:
            if fault.kind is FaultKind.BOAST:
                process.boasts = True
            else:
                process.claims = fault.amount

    def exchanging(self, proposal: Proposal) -> None:
        """An exchange begins: if it is that of a closing round, a member may be about to die."""
        if proposal.closing and self._closing:
            world, plan, fault = self._world, self._world.schedule, self._closing.pop(0)
            victim = world.processes.get(self._rng.choice(proposal.group))
            if victim:
                wait = self._rng.random() * (plan.transfer + 8 * plan.delay)
                world.loop.after(wait, lambda: self._die(victim, fault))

    def accepting(self, proposal: Proposal) -> None:
        """A leader asks for accepts."""
        if self._cutting and len(proposal.group) > 1:
            side = self._rng.sample(proposal.group, self._rng.randint(1, len(proposal.group) // 2))
            fault = replace(self._cutting.pop(0), at=self._world.loop.now, peers=tuple(sorted(side)))
            self.calm_from = max(self.calm_from, fault.end)
            self._world.network.cut(fault)

    def committed(self, process: Process, commit: Commit) -> None:
        """A process commits a round."""
        others = [name for name in commit.group if name != process.name]
        if self._deafening and others:
            fault = replace(self._deafening.pop(0), at=self._world.loop.now, peers=(self._rng.choice(others),))
            self.calm_from = max(self.calm_from, fault.end)
            self._world.network.deafen(fault)

    def die_deciding(self, process: Process, decision: Decide) -> bool:
        """Whether a process dies before anybody hears of what it has decided."""
        if not self._deciding or decision.commit.round <= 1 or not process.running:
            return False
        self._die(process, self._deciding.pop(0))
        return True

    def _die(self, process: Process, fault: Fault) -> None:
        if not process.running:
            return
        self.calm_from = max(self.calm_from, self._world.loop.now + fault.seconds)
        if fault.seconds:
            self._world.restart(process, fault.seconds)
        else:
            process.stop("crashed")

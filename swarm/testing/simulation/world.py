"""One run: everything put together, faults struck, progress watched."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from swarm.records import Commit, PeerId
from swarm.rounds.effects import Fetch, Heal
from swarm.rounds.machine import RoundMachine
from swarm.rounds.order import majority
from swarm.rounds.rules import RoundRules
from swarm.sync import FixedInterval
from swarm.testing.simulation.exchanges import Exchanges
from swarm.testing.simulation.loop import Loop
from swarm.testing.simulation.models import Library, Violation
from swarm.testing.simulation.network import Network
from swarm.testing.simulation.peer import SimulatedPeer, Training
from swarm.testing.simulation.plan import Fault, FaultKind, Schedule
from swarm.testing.simulation.training import SimulatedTraining
from swarm.testing.simulation.witness import Witness

GIVE_UP = 900.0
"""Virtual seconds after which a run counts as hanging."""
MOST_EVENTS = 500_000
"""Events after which a run counts as going round in circles."""
WAIT_ENOUGH = 30.0
"""Virtual seconds after the last fault for which peers that were told to wait for a quorum are let wait."""


@dataclass(frozen=True, slots=True)
class Actors:
    """The code under test; mutants replace one or the other."""

    machine: type[RoundMachine] = RoundMachine
    training: type[SimulatedTraining] = SimulatedTraining


class World:
    """The state of one run."""

    def __init__(self, schedule: Schedule, actors: Actors, tell: Callable[[str], None] | None = None) -> None:
        self.schedule = schedule
        self.loop = Loop()
        self.library = Library()
        self.machine = actors.machine
        self.faults: Counter[str] = Counter()
        self.tell = tell
        """Takes a line on each thing of note, for a replay."""
        self._rng = random.Random(schedule.seed + 1)  # noqa: S311
        self._actors = actors
        self.witness = Witness(schedule, self.library)
        self.network = Network(self.loop, schedule, self._rng)
        self.exchanges = Exchanges(self.loop, schedule, self.network, self.library, self._rng)
        self._names = tuple(peer.name for peer in schedule.peers)
        self._starting = set(self._names)
        self._deciding: list[Fault] = []
        self._deafening: list[Fault] = []
        self._boasting: set[PeerId] = set()
        policy = FixedInterval(4)
        self._rules = RoundRules(
            session="simulated",
            min_peers=schedule.min_peers,
            policy=policy,
            first_sync=policy.start(),
            expected=schedule.expected,
            averaging=schedule.averaging,
            wait_below_quorum=schedule.wait_below_quorum,
            failure_timeout=schedule.failure_timeout,
            grace=schedule.grace,
            start_timeout=schedule.start_timeout,
        )

    def run(self) -> None:
        """Run until every process has ended.

        Raises:
            Violation: an invariant does not hold.
        """
        for plan in self.schedule.peers:
            self.loop.at(plan.starts, lambda name=plan.name: self._start(name))  # type: ignore[misc]
        for fault in self.schedule.faults:
            self.loop.at(fault.at, lambda fault=fault: self._strike(fault))  # type: ignore[misc]
        self._watch = _Watch(self)
        self.loop.at(self.schedule.calm_from, self._watch.look)
        waits = self.schedule.wait_below_quorum
        end = self.schedule.calm_from + self.schedule.start_timeout + WAIT_ENOUGH if waits else GIVE_UP
        while not self._done() and self.loop.now < end and self.loop.step():
            if self.loop.events > MOST_EVENTS:
                raise Violation("Progress", f"{MOST_EVENTS} events and no end")
        left = [process.name for process in self.network.processes.values() if process.running]
        if left and not waits:
            raise Violation("Progress", f"{left} never end")

    def _done(self) -> bool:
        return not self._starting and not any(process.running for process in self.network.processes.values())

    def note(self, text: str) -> None:
        """Tell what happens."""
        if self.tell:
            self.tell(f"{self.loop.now:9.3f} {text}")

    # What processes ask ----------------------------------------------------------------------------------------------

    def training(self, peer: SimulatedPeer) -> Training:
        """The training of a new process."""
        return self._actors.training(peer).run()

    def handled(self, peer: SimulatedPeer) -> None:
        """A process has handled an event."""
        self.witness.weights(peer)

    def may_come(self, name: PeerId) -> bool:
        """Whether a process of that name runs, or will."""
        return name in self._starting or self.network.alive(name) is not None

    def boasts(self, name: PeerId) -> bool:
        """Whether this peer claims too much."""
        return name in self._boasting

    def vanished(self, peer: SimulatedPeer) -> None:
        """A process is gone."""
        self.note(f"{peer.name} {peer.outcome}")
        self.witness.ended(peer)
        self.network.vanished(peer)
        self.exchanges.vanished(peer)

    def fetch(self, peer: SimulatedPeer, fetch: Fetch) -> None:
        """Fetch an undecided model from the first who has it."""

        def arrive() -> None:
            sources = [self.network.alive(name) for name in fetch.sources]
            able = [
                source
                for source in sources
                if source
                and not source.frozen
                and self.network.connected(peer.name, source.name)
                and fetch.digest in source.store
            ]
            peer.do(lambda: peer.fetched(fetch.digest, success=bool(able)))

        self.loop.after(self.schedule.transfer * self._rng.random(), arrive)

    def heal(self, peer: SimulatedPeer, heal: Heal) -> None:
        """Fetch a committed model."""
        commit, name = heal.commit, heal.sources[0]

        def arrive() -> None:
            source = self.network.alive(name)
            if source and self.network.connected(peer.name, name) and not source.frozen:
                if source.reference == commit.digest:
                    peer.do(lambda: peer.healed(commit))
                else:
                    peer.do(lambda: peer.heal_failed(commit, name))
            else:
                wait = self.schedule.failure_timeout if source else 0.0
                self.loop.after(wait, lambda: peer.do(lambda: peer.heal_failed(commit, name)))

        self.loop.after(self.schedule.transfer * self._rng.random(), arrive)

    # Faults ----------------------------------------------------------------------------------------------------------

    def _start(self, name: PeerId) -> None:
        self._starting.discard(name)
        plan = next(peer for peer in self.schedule.peers if peer.name == name)
        incarnation = f"{len(self.network.processes)}.{self.loop.events}"
        rng = random.Random(f"{self.schedule.seed}/{name}/{incarnation}")  # noqa: S311
        process = SimulatedPeer(self, plan, incarnation, self._rules, rng)
        self.network.processes[name] = process
        process.start(self._names)

    def _strike(self, fault: Fault) -> None:
        self.faults[fault.kind.value] += 1
        self.note(f"FAULT {fault.kind} {' '.join(fault.peers)} for {fault.seconds:g} s")
        match fault.kind:
            case FaultKind.CRASH_DECIDING:
                self._deciding.append(fault)
            case FaultKind.DEAF:
                self.network.deafen(fault)
            case FaultKind.DEAF_DECIDING:
                self._deafening.append(fault)
            case FaultKind.BOAST:
                self._boasting.update(fault.peers)
            case FaultKind.PARTITION:
                timeout = self.schedule.failure_timeout
                if fault.seconds > timeout:
                    self.loop.after(timeout, lambda: self.network.cut(fault))
            case _:
                for name in fault.peers:
                    process = self.network.alive(name)
                    if process:
                        self._strike_process(process, fault)

    def _strike_process(self, process: SimulatedPeer, fault: Fault) -> None:
        match fault.kind:
            case FaultKind.CRASH:
                process.stop("crashed")
            case FaultKind.RESTART:
                self._restart(process, fault.seconds)
            case FaultKind.LEAVE:
                process.do(process.leave)
            case FaultKind.FREEZE:
                process.freeze()
                timeout = self.schedule.failure_timeout
                if fault.seconds > timeout:
                    self.loop.after(timeout, lambda: self.network.silent(process))
                self.loop.after(fault.seconds, lambda: self._thaw(process))

    def _thaw(self, process: SimulatedPeer) -> None:
        if process.running:
            process.thaw()
            self.network.woke(process)

    def _restart(self, process: SimulatedPeer, seconds: float) -> None:
        self._starting.add(process.name)
        process.stop("restarted")
        self.loop.after(seconds, lambda: self._start(process.name))

    def dies_deciding(self, process: SimulatedPeer) -> bool:
        """Whether the process is to die now that it commits."""
        return bool(self._deciding) and process.machine.round > 1

    def committed(self, process: SimulatedPeer, commit: Commit) -> None:
        """A process commits a round."""
        others = [name for name in commit.group if name != process.name]
        if self._deafening and others:
            fault = self._deafening.pop(0)
            self.network.deafen(replace(fault, at=self.loop.now, peers=(self._rng.choice(others),)))

    def die_deciding(self, process: SimulatedPeer) -> None:
        """It dies before anybody hears of it."""
        fault = self._deciding.pop(0)
        if fault.seconds:
            self._restart(process, fault.seconds)
        else:
            process.stop("crashed")


class _Watch:
    """Looks every second, once all faults are over, whether those who can commit do."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._since: dict[tuple[str, int], float] = {}

    def look(self) -> None:
        world = self._world
        able = {self._key(commit) for commit in self._able()}
        self._since = {key: self._since.get(key, world.loop.now) for key in sorted(able)}
        plan = world.schedule
        grace = 30.0 if plan.grace is None else plan.grace
        bound = grace + 3 * plan.failure_timeout + 10 * plan.transfer + 3.0
        for (lineage, round_), since in self._since.items():
            if world.loop.now - since > bound:
                text = f"a majority waits for {bound:.0f} s after round {round_} of lineage {lineage}"
                raise Violation("Progress", text)
        world.loop.after(1.0, self.look)

    @staticmethod
    def _key(commit: Commit) -> tuple[str, int]:
        return commit.lineage, commit.round

    def _able(self) -> list[Commit]:
        """Commits whose membership could commit the next round."""
        waiting: dict[tuple[str, int], list[SimulatedPeer]] = {}
        commits: dict[tuple[str, int], Commit] = {}
        for process in self._world.network.processes.values():
            commit = process.machine.commit
            if process.running and commit and not commit.closing and process.machine.offered:
                waiting.setdefault(self._key(commit), []).append(process)
                commits[self._key(commit)] = commit
        return [commits[key] for key, processes in waiting.items() if self._enough(commits[key], processes)]

    def _enough(self, commit: Commit, processes: list[SimulatedPeer]) -> bool:
        names = {process.name for process in processes}
        training = any(not process.finished for process in processes)
        everyone = all(process.name in names for process in self._world.network.processes.values() if process.running)
        enough = len(names) >= self._world.schedule.min_peers and majority(commit.members, names)
        return enough and (training or everyone)

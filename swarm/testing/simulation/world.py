"""One run: everything put together, faults struck, progress watched."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from swarm.consensus.effects import Fetch, Heal
from swarm.consensus.machine import RoundMachine
from swarm.consensus.rules import RoundRules
from swarm.records import PeerId
from swarm.sync import FixedInterval, ValidationInterval
from swarm.testing.simulation.disk import Disks
from swarm.testing.simulation.exchanges import Exchanges
from swarm.testing.simulation.hazards import Hazards
from swarm.testing.simulation.loop import Loop
from swarm.testing.simulation.models import Library, Violation
from swarm.testing.simulation.network import Network
from swarm.testing.simulation.peer import SimulatedPeer
from swarm.testing.simulation.plan import OTHER_SESSION, SESSION, STRANGERS, PeerPlan, Schedule
from swarm.testing.simulation.requests import Training
from swarm.testing.simulation.training import SimulatedTraining
from swarm.testing.simulation.watch import Watch
from swarm.testing.simulation.witness import Witness

INTERVAL = 4
"""Batches between two sync points, to begin with."""
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
        self.tell = tell
        """Takes a line on each thing of note, for a replay."""
        self._rng = random.Random(schedule.seed + 1)  # noqa: S311
        self._actors = actors
        self.witness = Witness(schedule, self.library)
        self.network = Network(self.loop, schedule, self._rng)
        self.exchanges = Exchanges(self.loop, schedule, self.network, self.library, self._rng)
        self.disks = Disks(self.loop, schedule, self._rng)
        self.hazards = Hazards(self, self._rng)
        self._names = tuple(peer.name for peer in schedule.peers)
        self._starting = set(self._names)
        self._running = 0
        self._rules = {
            SESSION: self._rules_of(SESSION, schedule.min_peers, schedule.expected),
            OTHER_SESSION: self._rules_of(OTHER_SESSION, len(STRANGERS), len(STRANGERS)),
        }

    def _rules_of(self, session: str, min_peers: int, expected: int) -> RoundRules:
        schedule = self.schedule
        policy = ValidationInterval(INTERVAL) if schedule.adaptive else FixedInterval(INTERVAL)
        return RoundRules(
            session=session,
            min_peers=min_peers,
            policy=policy,
            first_sync=policy.start(),
            expected=expected,
            averaging=schedule.averaging,
            wait_below_quorum=schedule.wait_below_quorum,
            failure_timeout=schedule.failure_timeout,
            straggler_timeout=schedule.straggler_timeout,
            start_timeout=schedule.start_timeout,
        )

    def run(self) -> None:
        """Run until every process has ended.

        Raises:
            Violation: an invariant does not hold.
        """
        for plan in self.schedule.peers:
            self.loop.at(plan.starts, lambda plan=plan: self.start(plan))  # type: ignore[misc]
        for fault in self.schedule.faults:
            self.loop.at(fault.at, lambda fault=fault: self.hazards.strike(fault))  # type: ignore[misc]
        self.loop.at(self.schedule.calm_from, Watch(self).look)
        waits = self.schedule.wait_below_quorum
        end = self.schedule.calm_from + self.schedule.start_timeout + WAIT_ENOUGH if waits else GIVE_UP
        while (self._running or self._starting) and self.loop.now < end and self.loop.step():
            if self.loop.events > MOST_EVENTS:
                raise Violation("Progress", f"{MOST_EVENTS} events and no end")
        left = [process.name for process in self.network.processes.values() if process.running]
        if left and not waits:
            raise Violation("Progress", f"{left} never end")

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

    def vanished(self, peer: SimulatedPeer) -> None:
        """A process is gone."""
        self._running -= 1
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

    # Processes -------------------------------------------------------------------------------------------------------

    def start(self, plan: PeerPlan, *, resume: bool = False) -> None:
        """Start a process."""
        name = plan.name
        self._starting.discard(name)
        incarnation = f"{len(self.network.processes)}.{self.loop.events}"
        rng = random.Random(f"{self.schedule.seed}/{name}/{incarnation}")  # noqa: S311
        found = self.disks.newest(name) if resume else None
        process = SimulatedPeer(self, plan, incarnation, self._rules[plan.session], rng, resumed=found)
        self.network.processes[name] = process
        self._running += 1
        process.start(tuple(self.network.processes if plan.session != SESSION else self._names))

    def restart(self, process: SimulatedPeer, seconds: float, *, resume: bool = False) -> None:
        """A process dies, and another takes its place."""
        self._starting.add(process.name)
        process.stop("restarted")
        self.loop.after(seconds, lambda: self.start(process.plan, resume=resume))

"""One run: everything put together, faults struck, progress watched."""

from __future__ import annotations

import random
from collections.abc import Callable

from swarm.config import Settings
from swarm.consensus.timing import LONGEST_SILENCE
from swarm.messages import Accept, Decide, Hello, Message, StreamHeader
from swarm.records import Commit, PeerId
from swarm.transport.base import Frame
from tests.simulator.disk import Disks
from tests.simulator.feedback import Feedback
from tests.simulator.hazards import Hazards
from tests.simulator.loop import Loop
from tests.simulator.model import STEPS
from tests.simulator.network import Network
from tests.simulator.plan import SESSION, STRANGERS, PeerPlan, Schedule
from tests.simulator.process import Process
from tests.simulator.violation import Violation
from tests.simulator.watch import Watch
from tests.simulator.witness import Witness

INTERVAL = 4
"""Batches between two sync points, to begin with."""
RESERVE = 128
"""Steps that nobody trains for others, as only so many can be told apart in one run."""
GIVE_UP = 900.0
"""Virtual seconds after which a run counts as hanging."""
MOST_EVENTS = 150_000
"""Events after which a run counts as going round in circles."""
TURNS = 2.0
"""Mean virtual seconds after which a peer hears the other copy of the lying members."""
WAIT_ENOUGH = 30.0
"""Virtual seconds after the last fault for which peers that were told to wait for a quorum are let wait."""


class World:
    """The state of one run."""

    def __init__(self, schedule: Schedule, tell: Callable[[str], None] | None = None) -> None:
        self.schedule = schedule
        self.loop = Loop()
        self.tell = tell
        """Takes a line on each thing of note, for a replay."""
        self._rng = random.Random(schedule.seed + 1)
        self.network = Network(self.loop, schedule, self._rng)
        self.disks = Disks(self.loop, schedule, self._rng)
        self.processes: dict[PeerId, Process] = {}
        """The process last started under each name."""
        self.feedback = Feedback()
        self.witness = Witness(schedule, self._reached, lambda process: self.disks.ledger(process.name))
        self.hazards = Hazards(self, self._rng)
        self._names = tuple(peer.name for peer in schedule.peers)
        self._starting = set(self._names)
        self._running = 0
        self._steps = 0

    def settings(self, plan: PeerPlan, *, resume: bool) -> Settings:
        """The settings of a peer; ``resume``: whether it goes on from its newest checkpoint."""
        schedule, stranger = self.schedule, plan.session != SESSION
        return Settings(
            sync_interval=INTERVAL,
            min_peers=len(STRANGERS) if stranger else schedule.min_peers,
            world_size=len(STRANGERS) if stranger else schedule.expected or None,
            use_adaptive_sync=schedule.adaptive,
            keep_best=schedule.judges,
            checkin_model_on_train_end=plan.checkin.value,  # type: ignore[arg-type]
            train_until="all" if schedule.extends else "own",
            node_weightage=plan.weight,
            model_name=plan.session,
            merge_method="mean" if schedule.averaging else "coordmedian",
            outer="fedavgm" if schedule.outer else "none",
            outer_learning_rate=1.0 if schedule.outer else None,
            outer_momentum=0.0 if schedule.outer else None,
            codec=schedule.codec,
            largest_share=schedule.largest_share,
            tolerated_liars=0 if stranger else schedule.tolerated,
            overlap=schedule.overlap,
            below_quorum="wait" if schedule.wait_below_quorum else "train",
            start_timeout=schedule.start_timeout,
            failure_timeout=schedule.failure_timeout,
            straggler_timeout=schedule.straggler_timeout,
            checkpoint_seconds=schedule.checkpoint_seconds,
            name=plan.name,
            resume=resume,
        )

    def run(self) -> None:
        """Run until every process has ended.

        Raises:
            Violation: an invariant does not hold.
        """
        for plan in self.schedule.peers:
            lying = (0, 1) if self.schedule.twins else (0,)
            for copy in lying if plan.name in self.schedule.liars else (None,):
                self.loop.at(plan.starts, lambda plan=plan, copy=copy: self.start(plan, copy=copy))  # type: ignore[misc]
        if self.schedule.liars and self.schedule.twins:
            self.loop.after(TURNS, self._turn)
        for fault in self.schedule.faults:
            self.loop.at(fault.at, lambda fault=fault: self.hazards.strike(fault))  # type: ignore[misc]
        watch = Watch(self.loop, self.schedule, self.processes, lambda: self.hazards.calm_from)
        self.loop.at(self.schedule.calm_from, watch.look)
        waits = self.schedule.wait_below_quorum
        end = self.schedule.calm_from + self.schedule.start_timeout + WAIT_ENOUGH if waits else GIVE_UP
        end += 2 * LONGEST_SILENCE if self.schedule.liars else 0.0
        loop = self.loop
        try:
            while (self._running or self._starting) and loop.now < end and loop.step():
                if loop.events > MOST_EVENTS:
                    raise Violation("Progress", f"{MOST_EVENTS} events and no end")
            left = [process for process in self.processes.values() if process.running and not process.lies]
            if left and not waits:
                raise Violation("Progress", f"{[process.name for process in left]} never end")
            self.witness.over()
        finally:
            for process in self.processes.values():
                process.stop("the run is over")
            self.loop.clear()

    def _turn(self) -> None:
        """A peer gets to hear the other copy of the lying members."""
        honest = [name for name in self._names if name not in self.schedule.liars]
        self.network.turn(self._rng.choice(honest))
        self.loop.after(2 * TURNS * self._rng.random(), self._turn)

    def note(self, text: str) -> None:
        """Tell what happens."""
        if self.tell:
            self.tell(f"{self.loop.now:9.3f} {text}")

    # What processes ask ----------------------------------------------------------------------------------------------

    def names(self) -> tuple[PeerId, ...]:
        """Names of the processes that run, or will."""
        strangers = (self.processes.get(plan.name) for plan in STRANGERS)
        return (*self._names, *(process.name for process in strangers if process and process.running))

    def next_step(self) -> int:
        """The number of a new training step."""
        self._steps += 1
        return self._steps - 1

    @property
    def spares_steps(self) -> bool:
        """Whether there are steps to train for others: what is left is for the peers' own training."""
        return self._steps < STEPS - RESERVE

    def says(self, process: Process, message: Message) -> bool:
        """A process sends a message; whether it lives to do so."""
        if self.tell and not isinstance(message, Hello):
            self.note(f"{process.name} says {message}")
        if isinstance(message, Decide):
            self.witness.decided(process, message.commit)
            if self.hazards.die_deciding(process, message):
                return False
        self.witness.says(process, message)
        if isinstance(message, Accept):
            self.hazards.accepting(message.proposal)
        return True

    def contributes(self, process: Process, header: StreamHeader) -> None:
        """A process takes part in an exchange."""
        if process.lies:
            return
        proposal = self.witness.contributes(process, header)
        if proposal:
            self.hazards.exchanging(proposal)

    def sends(self, process: Process, header: StreamHeader, to: PeerId, frame: Frame) -> None:
        """A process sends a frame of weights."""
        if not self.schedule.liars:
            self.feedback.sends(process, self.witness.proposal(header), to, frame)

    def fetched(self, process: Process) -> None:
        """A process has fetched a model."""
        self.witness.heals += 1
        self.feedback.fetched(process)

    def warned(self, process: Process, text: str, error: BaseException | None) -> None:
        """A session warns its user."""
        if process.lies:
            return
        self.note(f"{process.name} warns: {text}")
        self.witness.warned(process, text, error)

    def loaded(self, process: Process, *, replaced: bool) -> None:
        """The session has changed the weights of a process, or ``replaced`` them all."""
        if process.running and not process.lies:
            self.witness.loaded(process, replaced=replaced)

    def handled(self, process: Process, commit: Commit | None) -> None:
        """A process has handled an event, and has this commit since."""
        if commit is not None and commit is not self.witness.last(process) and not process.lies:
            self.note(f"{process.name} commits round {commit.round} of {commit.lineage}: {commit.contributors}")
            proposal = self.witness.committed(process, commit)
            self.feedback.committed(process, commit, proposal, self.witness.values)
            self.hazards.committed(process, commit)

    def vanished(self, process: Process) -> None:
        """A process is gone."""
        if process.lies:
            return
        self._running -= 1
        self.note(f"{process.name} {process.outcome}")
        self.witness.ended(process)

    def _reached(self, process: Process) -> list[Process]:
        """The processes that a process is connected to and believes to be there, itself first."""
        live = {peer["name"] for peer in process.session.status()["peers"] if peer["state"] == "live"}
        others = []
        for name in sorted(live):
            other = self.processes.get(name)
            if other and other.running and self.network.linked(process.transport, name) is other.transport:
                others.append(other)
        return [process, *others]

    # Processes -------------------------------------------------------------------------------------------------------

    def start(self, plan: PeerPlan, *, resume: bool = False, copy: int | None = None) -> None:
        """Start a process, or a copy of a lying one."""
        name = plan.name
        self._starting.discard(name)
        incarnation = f"{len(self.processes):03}.{self.loop.events:07}" if copy is None else "lying"
        process = Process(self, plan, incarnation, resume=resume, copy=copy)
        self.processes[f"{name}/{copy}" if copy else name] = process
        self._running += not process.lies
        self.hazards.started(process)
        process.start()
        if process.resumed:
            self.witness.resumed(process, process.resumed)

    def restart(self, process: Process, seconds: float, *, resume: bool = False) -> None:
        """A process dies, and another takes its place."""
        self._starting.add(process.name)
        process.stop("restarted")
        self.loop.after(seconds, lambda: self.start(process.plan, resume=resume))

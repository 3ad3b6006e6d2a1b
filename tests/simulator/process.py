"""One simulated process: a training script with a real session."""

from __future__ import annotations

import logging
import random
import zlib
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol

import numpy as np
from greenlet import GreenletExit

from swarm.config import Settings
from swarm.discovery.base import Discovery
from swarm.errors import SwarmError
from swarm.messages import Offer
from swarm.plugins import PluginRegistry
from swarm.records import Commit
from swarm.session import Session
from swarm.session.platform import Platform
from swarm.session.wiring import Network as Reach
from swarm.storage.ledger import MemoryLedger
from swarm.tensors.model import Evaluation
from tests.simulator.clock import ProcessClock
from tests.simulator.disk import SimulatedStore
from tests.simulator.executor import SimulatedExecutor
from tests.simulator.liar import Liar, draw_habits
from tests.simulator.lying_leader import led_by_liars
from tests.simulator.model import StepModel, Taken
from tests.simulator.plan import CHECKIN_MODES
from tests.simulator.signer import CheapSigner
from tests.simulator.transport import SimulatedTransport

if TYPE_CHECKING:
    from swarm.messages import Envelope, Message, StreamHeader
    from swarm.peer.engine import Engine
    from swarm.peer.futures import Answer
    from swarm.records import ContributionStats, PeerId
    from swarm.tensors.capture import Capture
    from swarm.transport.base import Frame
    from tests.simulator.disk import Disks
    from tests.simulator.loop import Loop
    from tests.simulator.network import Network
    from tests.simulator.plan import PeerPlan, Schedule

EPOCH = 6
"""Batches of an epoch that is trained for others: it ends between two sync points."""
PLUGINS = PluginRegistry(disabled=[entry.name for entry in entry_points(group="swarm")])
"""Those of every session: the built-in parts, whatever is installed."""


class Surroundings(Protocol):
    """The run that a process is part of."""

    schedule: Schedule
    loop: Loop
    network: Network
    disks: Disks

    def settings(self, plan: PeerPlan, *, resume: bool) -> Settings:
        """The settings of a peer."""
        ...

    def names(self) -> tuple[PeerId, ...]:
        """Names of the processes that run, or will."""
        ...

    def next_step(self) -> int:
        """The number of a new training step."""
        ...

    @property
    def spares_steps(self) -> bool:
        """Whether there are steps to train for others."""
        ...

    def handled(self, process: Process, commit: Commit | None) -> None:
        """A process has handled an event."""
        ...

    def loaded(self, process: Process, *, replaced: bool) -> None:
        """The session has changed the weights of a process, or ``replaced`` them all."""
        ...

    def says(self, process: Process, message: Message) -> bool:
        """A process sends a message; whether it lives to do so."""
        ...

    def contributes(self, process: Process, header: StreamHeader) -> None:
        """A process takes part in an exchange."""
        ...

    def sends(self, process: Process, header: StreamHeader, to: PeerId, frame: Frame) -> None:
        """A process sends a frame of weights."""
        ...

    def fetched(self, process: Process) -> None:
        """A process has fetched a model."""
        ...

    def warned(self, process: Process, text: str, error: BaseException | None) -> None:
        """A session warns its user."""
        ...

    def vanished(self, process: Process) -> None:
        """A process is gone."""
        ...


class Process:
    """What runs under a peer's name until it ends or dies."""

    def __init__(
        self, world: Surroundings, plan: PeerPlan, incarnation: str, *, resume: bool, copy: int | None = None
    ) -> None:
        """``copy`` is the number of this copy of a lying member; None for an honest one."""
        self.name = plan.name
        self.copy = copy
        self.plan = plan
        self.incarnation = incarnation
        self.running = True
        self.frozen = False
        self.outcome = ""
        """How it ended; empty while it runs."""
        self.resumed: Commit | None = None
        """What it found on its disk."""
        self.offer: Offer | None = None
        """What it has told others that it offers."""
        self.hurried = False
        """Whether training is to end now."""
        self.claims: float | None = None
        """By which factor it lies about how far its weights have moved."""
        self.poisoned = False
        """Whether its weights hold NaN."""
        self.waiting = False
        """Whether the training is inside the session: if rounds do not overlap, it waits for each that it offers to."""
        self.trained = False
        """Whether its own intervals are over."""
        self.boasts = False
        """Whether it claims too much weight."""
        self._world = world
        self._rng = random.Random(f"{world.schedule.seed}/{plan.name}/{incarnation}/{copy or ''}")
        self._backlog: list[Callable[[], None]] = []
        self._seen: Commit | None = None
        """The commit that its session had after the last event."""
        self.executor = SimulatedExecutor(world.loop, ProcessClock(), self)
        self._changed = self.executor.condition()
        self.transport = SimulatedTransport(world.network, self, plan.session)
        key = f"{plan.name}/{incarnation}"
        habits = draw_habits(random.Random(f"habits/{world.schedule.seed}/{plan.name}"))
        self._liar = Liar(plan.name, plan.session, CheapSigner(key), habits, self._rng) if self.lies else None
        initial = zlib.crc32(f"{plan.name}/{incarnation}".encode()) % 64 / 8
        self.model = StepModel(
            initial,
            lambda replaced: world.loaded(self, replaced=replaced),
            lambda: world.loop.events,
            optimizer=world.schedule.optimizer,
        )
        settings = self.settings = world.settings(plan, resume=resume)
        self.session = Session(
            settings,
            self.model,
            evaluate=self._evaluate if settings.use_adaptive_sync or settings.keep_best else None,
            logger=_logger(lambda text, error: world.warned(self, text, error)),
            plugins=PLUGINS,
            network=lambda _settings, _plugins: Reach(self.transport, [Names(world, self)]),
            platform=Platform(
                executor=self.executor,
                checkpoint_store=lambda _settings: SimulatedStore(world.disks, plan.name, self.executor),
                ledger=lambda *_: MemoryLedger() if self.lies else world.disks.ledger(plan.name),
                signer=lambda: CheapSigner(key),
                incarnation=lambda: incarnation,
                on_sigterm=lambda _leave: lambda: None,
            ),
        )

    def start(self) -> None:
        """The process starts."""
        if self.settings.resume:
            found = self._world.disks.newest.get(self.name)
            self.resumed = found[0] if found else None
        self.executor.start("train", self._train)

    @property
    def lies(self) -> bool:
        """Whether it is a copy of a lying member."""
        return self.copy is not None

    @property
    def dishonest(self) -> bool:
        """Whether it offers what is not so."""
        return self.lies or self.boasts or self.claims is not None

    @property
    def finished(self) -> bool:
        """Whether it has told others that its training is over."""
        return self.offer is not None and self.offer.stats.status in CHECKIN_MODES

    @property
    def offered(self) -> Taken:
        """The weights that it offers."""
        return self.model.capture

    # What happens to it ----------------------------------------------------------------------------------------------

    def do(self, work: Callable[[], None]) -> None:
        """Let the process handle an input; one that stands still does so when it goes on."""
        if self.frozen:
            self._backlog.append(work)
        elif self.running:
            work()

    def stepped(self) -> None:
        """A task has gone on: only tasks commit rounds, so see whether the session has another commit than before."""
        if self.running:
            commit = self.session.commit
            if commit is not self._seen:
                self._seen = commit
                self._world.handled(self, commit)

    def freeze(self) -> None:
        """Stand still."""
        self.frozen = True

    def thaw(self) -> None:
        """Go on."""
        self.frozen = False
        backlog, self._backlog = self._backlog, []
        for work in backlog:
            self.do(work)

    def reset_clock(self, *, ahead: float = 0.0, rate: float | None = None) -> None:
        """Its clock jumps, or goes faster or slower from now on."""
        clock = self.executor.clock
        clock.ahead += ahead
        if rate is not None:
            clock.drift(rate, self._world.loop.now)
        self.executor.clock_changed()

    def finish(self) -> None:
        """End the training now; what was trained since the last sync point is merged in one more round."""
        self.hurried = True
        self._changed.notify_all()

    def leave(self) -> None:
        """Leave politely, from wherever training is, as on SIGTERM."""

        def go() -> None:
            self.session.abort("asked to")
            self._end("left")

        self.executor.start("leave", go)

    def stop(self, outcome: str) -> None:
        """The process ends at once."""
        if self.running:
            self.running, self.frozen, self.outcome = False, False, outcome
            self.transport.close()
            self.executor.die()
            self._world.vanished(self)

    def _end(self, outcome: str) -> None:
        """The script has ended; its remaining tasks end with the process."""
        self._world.loop.after(0.0, lambda: self.stop(outcome))

    # The training script ---------------------------------------------------------------------------------------------

    def _train(self) -> None:
        session, plan = self.session, self.plan
        try:
            session.begin()
        except SwarmError as error:
            self._end(f"failed: {error}")
            return
        self._trains(plan.intervals * self.settings.sync_interval)
        self.trained = True
        while not self.hurried and self._world.spares_steps and self._goes_on():
            self._trains(EPOCH)
        self.waiting = True
        session.end()
        commit = session.commit
        self._end("closed" if commit and commit.closing else "alone")

    def _trains(self, batches: int) -> None:
        """Train for so many batches, or until nothing more is needed."""
        session = self.session
        for _ in range(batches):
            if session.over or session.all_done or self._rests(self.plan.pace / self.settings.sync_interval):
                break
            self.model.step(self._world.next_step())
            if self._rng.random() < self._world.schedule.poisoned / 4:
                self.model.values[-1], self.poisoned = np.nan, True
            self.waiting = True
            session.advance()
            self.waiting = False

    def _goes_on(self) -> bool:
        """Whether another epoch is to be trained for the others."""
        self.waiting = True
        more = self.session.extend()
        self.waiting = False
        return more

    def _rests(self, seconds: float) -> bool:
        """Let the time of a batch pass; whether training is to end."""
        return bool(self._changed.wait_for(lambda: self.hurried, seconds)) or self.hurried

    def _evaluate(self) -> Evaluation:
        """The loss of the weights as they are: the more steps, the lower, more or less."""
        noise = zlib.crc32(self.model.values.tobytes() + self.name.encode()) / 2**32
        return Evaluation((1.0 + noise) / (10.0 + float(np.nan_to_num(self.model.values).sum())))

    # What it says and hears ------------------------------------------------------------------------------------------

    def says(self, envelope: Envelope) -> list[Envelope]:
        """What really goes out for a message of the session."""
        if self._liar:
            others = tuple(name for name in self._world.names() if name != self.name)
            return self._liar.says(envelope, others, self.session.commit)
        if not self._world.says(self, envelope.message):
            raise GreenletExit
        return [envelope]

    def serves(self, engine: Engine) -> None:
        """The worker of the session listens: what it is told to offer is what this process claims."""
        offer = engine.offer

        def claim(capture: Capture, stats: ContributionStats) -> Answer:
            self.model.offers(capture)
            if self._liar:
                led_by_liars[engine._machine._state] = self._liar
            if self.claims is not None:
                stats = replace(stats, delta_norm=stats.delta_norm * self.claims)
            if self.boasts:
                stats = replace(stats, weight=100)
            return offer(capture, stats)

        engine.offer = claim  # type: ignore[method-assign]

    def uploads(self, header: StreamHeader) -> None:
        """It takes part in an exchange."""
        self._world.contributes(self, header)

    def sends(self, header: StreamHeader, to: PeerId, frame: Frame) -> Frame | None:
        """What really goes out for a frame of weights; None: nothing more of this stream."""
        if self._liar:
            return self._liar.sends(frame)
        self._world.sends(self, header, to, frame)
        return frame

    def fetched(self) -> None:
        """It has fetched a model."""
        if not self.lies:
            self._world.fetched(self)


class Names(Discovery):
    """Addresses of all processes that run or will, as a shared directory has them."""

    def __init__(self, world: Surroundings, process: Process) -> None:
        self._world = world
        self._process = process

    def announce(self, name: str, address: str, incarnation: str) -> None:
        pass

    def discover(self) -> tuple[str, ...]:
        return tuple(name for name in self._world.names() if name != self._process.name)

    def withdraw(self) -> None:
        pass


def _logger(take: Callable[[str, BaseException | None], None]) -> logging.Logger:
    """A logger that gives every warning, and the error that it tells of, to ``take``."""
    logger = logging.Logger("simulated", logging.WARNING)  # noqa: LOG001 - outside the hierarchy of this process
    logger.addHandler(_Warnings(take))
    return logger


class _Warnings(logging.Handler):
    def __init__(self, take: Callable[[str, BaseException | None], None]) -> None:
        super().__init__()
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        self._take(record.getMessage(), record.exc_info[1] if record.exc_info else None)

"""One simulated process: the round machine of production, driven as the session's worker drives it."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from swarm.consensus.effects import (
    Apply,
    Effect,
    End,
    Fail,
    Fetch,
    Heal,
    Notice,
    Send,
    Skip,
    StartExchange,
    StopExchange,
)
from swarm.consensus.machine import RoundMachine
from swarm.consensus.member import Key
from swarm.messages import Leave, PartialNorm
from swarm.peer.futures import Answer
from swarm.records import Commit, ContributionStats, PeerId, PeerInfo, PeerStatus
from swarm.testing.simulation.clocks import ProcessClock
from swarm.testing.simulation.contacts import Contacts
from swarm.testing.simulation.disk import Checkpointing
from swarm.testing.simulation.exchanges import Capture
from swarm.testing.simulation.models import Library, Weights
from swarm.testing.simulation.plan import PeerPlan
from swarm.testing.simulation.requests import Place, Synced, Train, Training

if TYPE_CHECKING:
    from swarm.consensus.rules import RoundRules
    from swarm.testing.simulation.world import World


class SimulatedPeer:
    """What a peer's process does with its inputs. Mirrors :class:`swarm.peer.engine.Engine`."""

    def __init__(
        self,
        world: World,
        plan: PeerPlan,
        incarnation: str,
        rules: RoundRules,
        rng: random.Random,
        *,
        resumed: Commit | None = None,
    ) -> None:
        """A process starts, perhaps from a checkpoint."""
        self.name = plan.name
        self.plan = plan
        self.rules = rules
        self.incarnation = incarnation
        self.clock = ProcessClock()
        self.running = True
        self.frozen = False
        self.finished = False
        """Whether local training is over."""
        self.hurried = False
        """Whether training is to end now."""
        self.outcome = ""
        """How it ended; empty while it runs."""
        self.resumed = resumed
        self.weights = world.library.initial(f"{plan.name}/{incarnation}")
        self.reference: str | None = None
        self.loss: float | None = None
        """Validation loss of the last model taken over."""
        self.store: set[str] = set()
        """Digests of the models whose bytes are here."""
        self._world = world
        self.machine: RoundMachine = world.machine(plan.name, incarnation, rules, self.now)
        self._rng = rng
        info = PeerInfo(
            name=plan.name,
            incarnation=incarnation,
            address=plan.name,
            session=rules.session,
            weight=plan.weight,
            expects=rules.expected,
        )
        self.contacts = Contacts(world, self, info)
        self._checkpoints = Checkpointing(world.disks, self, world.loop, world.schedule.checkpoint_seconds)
        self._capture: Capture | None = None
        self._future = False
        self._late: deque[Synced] = deque()
        self._backlog: list[Callable[[], None]] = []
        self._wake: float | None = None
        self._training: Training = world.training(self)
        self._interval = 0
        """Number of the interval that is being trained; 0 between two."""
        self._intervals = 0
        self._leaving_since: float | None = None

    # Life ------------------------------------------------------------------------------------------------------------

    def start(self, names: tuple[PeerId, ...]) -> None:
        """The process starts: it greets the others and enters training."""
        if self.resumed:
            self._world.witness.resumed(self, self.resumed)
            self.weights = Weights(self.resumed.digest)
            if not self.resumed.closing:  # otherwise it is only the start of a new run
                self.reference = self.resumed.digest
                self.store.add(self.reference)
                self.perform(self.machine.resume(self.resumed, self.now))
        for name in names:
            if name != self.name:
                self.contacts.dial_later(name, 0.0)
        self._resume(None)

    @property
    def now(self) -> float:
        """What its clock shows."""
        return self.clock.read(self._world.loop.now)

    def do(self, work: Callable[[], None]) -> None:
        """Let the process handle an input; one that stands still does so when it goes on."""
        if self.frozen:
            self._backlog.append(work)
        elif self.running:
            work()
            self._world.handled(self)

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
        self.clock.ahead += ahead
        if rate is not None:
            self.clock.drift(rate, self._world.loop.now)
        self._wake = None
        self.do(self.tick)

    def stop(self, outcome: str) -> None:
        """The process is no more."""
        if self.running:
            self.running, self.frozen, self.outcome = False, False, outcome
            self._training.close()
            self._world.vanished(self)

    # The training thread ---------------------------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether the last capture may still be merged."""
        return self.machine.pending or bool(self._late)

    def capture(self, capture: Capture) -> None:
        """Copy the weights."""
        capture.weights = self.weights
        capture.finite = not (self._world.schedule.poisoned and self._rng.random() < self._world.schedule.poisoned)

    @property
    def library(self) -> Library:
        """All models of the run."""
        return self._world.library

    def process(self, name: PeerId) -> SimulatedPeer | None:
        """The running process of that name."""
        return self._world.network.alive(name)

    def train(self) -> None:
        """A few local steps."""
        for _ in range(self._rng.randint(1, 3)):
            self.weights = self._world.library.train(self.weights)

    def validate(self, digest: str) -> None:
        """Evaluate a model on this peer's data."""
        if self.rules.policy.name != "fixed":
            self.loss = self._world.library.loss(digest, self.name)

    def merged(self, before: Weights, answer: Synced) -> None:
        """Its weights have been moved to a model that has its contribution, or nobody's."""
        if answer.commit and (self.name in answer.commit.contributors or not answer.commit.contributors):
            self._world.witness.merged(self, before, answer.commit)

    def leave(self) -> None:
        """Leave politely, from wherever training is."""
        self.contacts.tell(self.machine.live, Leave("asked to"))
        self.stop("left")

    def _resume(self, answer: Synced | None) -> None:
        try:
            request = next(self._training) if answer is None else self._training.send(answer)
        except StopIteration:
            self.finished = True
            self._leaving_since = self.now
            self._linger()
            return
        if isinstance(request, Train):
            self._train()
        else:
            self._offer(request)

    def _train(self) -> None:
        self._intervals += 1
        number = self._interval = self._intervals
        sync = self.machine.commit.sync if self.machine.commit else self.rules.first_sync
        seconds = self.plan.pace * sync.interval / self.rules.first_sync.interval
        self._world.loop.after(seconds, lambda: self.do(lambda: self._trained(number)))

    def _trained(self, number: int) -> None:
        if number and number == self._interval:
            self._interval = 0
            self._resume(None)

    def finish(self) -> None:
        """End the training now; what was trained since the last sync point is merged in one more round."""
        self.hurried = True
        self._trained(self._interval)

    def _linger(self) -> None:
        assert self._leaving_since is not None
        over = self.now >= self._leaving_since + 2 * self.rules.failure_timeout
        if self.machine.closed and not self.machine.farewelled and not over:
            self._world.loop.after(0.3, lambda: self.do(self._linger))
            return
        self.contacts.tell(self.machine.live, Leave("training is over"))
        self.stop("closed" if self.machine.closed else "alone")

    def _offer(self, place: Place) -> None:
        self._future, self._capture = True, place.capture
        self.finished = place.status.finished
        if self._late:
            self._answer(self._late.popleft())
        elif self.machine.closed:
            self._answer(Synced(Answer.HEALED, self.machine.commit))
        else:
            weight = 100 if self._world.hazards.boasts(self.name) else self.plan.weight
            parent = self.machine.commit.digest if self.machine.commit else None
            norm = self.library.distance(place.capture.weights, parent) if parent else 0.0
            stats = ContributionStats(
                peer=self.name,
                round=self.machine.round,
                weight=0 if place.empty else weight,
                status=place.status,
                steps=int(place.unmerged),
                finite=place.capture.finite,
                delta_norm=self._world.hazards.claimed(self.name, norm),
                loss=self.loss,
            )
            self._world.witness.offers(self, stats)
            self.perform(self.machine.offer(stats, self.now))

    def _answer(self, answer: Synced) -> None:
        if self._future:
            self._future = False
            self._world.loop.after(0.0, lambda: self.do(lambda: self._resume(answer)))
        elif answer.model is not None:
            late = Answer.LATE if answer.answer is Answer.MERGED else answer.answer
            self._late.append(replace(answer, answer=late))

    # Exchanges and catching up ---------------------------------------------------------------------------------------

    def exchanged(self, key: Key, digest: str, norms: tuple[PartialNorm, ...]) -> None:
        """An exchange is complete here."""
        self.store.add(digest)
        self.perform(self.machine.exchanged(key, digest, norms, self.now))

    def exchange_failed(self, key: Key, blamed: PeerId) -> None:
        """An exchange cannot finish here."""
        self.perform(self.machine.exchange_failed(key, blamed, f"{blamed} fails", self.now))

    def healed(self, commit: Commit) -> None:
        """A committed model was fetched."""
        before = Weights(self.reference) if self.reference else None
        if self.machine.exposed and self._capture:
            before = self._capture.weights
        self.reference = commit.digest
        self.store.add(commit.digest)
        self._world.witness.healed(self, self.machine.commit, commit)
        self._checkpoints.offer(commit)
        self.perform(self.machine.healed(commit, self.now))
        self._answer(Synced(Answer.HEALED, commit, before))

    def heal_failed(self, commit: Commit, source: PeerId) -> None:
        """It could not be fetched."""
        self.perform(self.machine.heal_failed(commit, (source,), self.now))

    def fetched(self, digest: str, *, success: bool) -> None:
        """An undecided model was fetched, or could not be."""
        if success:
            self.store.add(digest)
        self.perform(self.machine.fetched(digest, self.now, success=success))

    # Effects ---------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Time has passed."""
        self.perform(self.machine.tick(self.now))

    def perform(self, effects: list[Effect]) -> None:
        """Do what the machine asks for."""
        world = self._world
        if world.tell:
            for effect in effects:
                if not isinstance(effect, Send):
                    world.note(f"{self.name} {effect}")
        if world.hazards.deciding and self.machine.round > 1:
            applied = [effect.commit for effect in effects if isinstance(effect, Apply)]
            if applied:
                for commit in applied:
                    world.witness.applied(self, commit)
                world.hazards.die_deciding(self)
                return
        for effect in effects:
            self._do(effect)
        if self.store:
            self.store &= self.machine.needed | {self.reference}
        self._set_alarm()

    def _do(self, effect: Effect) -> None:
        world = self._world
        match effect:
            case Send():
                world.witness.says(self, effect.message)
                self.contacts.send(effect.to, effect.message)
            case StartExchange():
                self._start_exchange(effect)
            case StopExchange():
                world.exchanges.stop(self, effect.key)
            case Apply():
                self._apply(effect.commit)
            case Heal():
                world.heal(self, effect)
            case Fetch():
                world.fetch(self, effect)
            case Skip():
                world.witness.skipped += 1
                self._answer(Synced(Answer.SKIPPED))
            case End():
                self._answer(Synced(Answer.ENDED))
            case Fail():
                self._answer(Synced(Answer.FAILED))
            case Notice():
                world.witness.noticed(effect)

    def _apply(self, commit: Commit) -> None:
        before, self.reference = self.reference, commit.digest
        self._world.witness.applied(self, commit)
        self._world.hazards.committed(self, commit)
        self._checkpoints.offer(commit)
        if self.name in commit.group:
            self._answer(Synced(Answer.MERGED, commit))
        else:
            self._answer(Synced(Answer.HEALED, commit, Weights(before) if before else None))

    def _start_exchange(self, effect: StartExchange) -> None:
        proposal = effect.proposal
        self._world.witness.proposed(self, proposal)
        self._world.hazards.exchanging(proposal)
        entry = next(entry for entry in proposal.entries if entry.peer == self.name)
        if entry.status is PeerStatus.ACTIVE:
            capture = Capture(Weights(self.reference)) if self.reference else None
        else:
            capture = self._capture
        if capture is None:
            self.exchange_failed(proposal.key, self.name)
        else:
            self._world.exchanges.start(self, proposal, capture)

    def _set_alarm(self) -> None:
        due = self.machine.deadline()
        if due is None or due == self._wake:
            return
        self._wake = due

        def ring() -> None:
            if self._wake == due:
                self._wake = None
                self.tick()

        self._world.loop.at(self.clock.moment(due), lambda: self.do(ring))

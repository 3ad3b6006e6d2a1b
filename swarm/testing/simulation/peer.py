"""One simulated process: the round machine of production, driven as the session's worker drives it."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from swarm.membership.roster import Roster
from swarm.messages import Envelope, Hello, Leave, Message, Refuse
from swarm.records import Commit, ContributionStats, PeerId, PeerInfo, PeerStatus
from swarm.rounds.effects import Apply, Effect, End, Fail, Fetch, Heal, Send, Skip, StartExchange, StopExchange
from swarm.rounds.machine import RoundMachine
from swarm.rounds.member import Key
from swarm.session.greeter import FIRST_RETRY, LONGEST_RETRY
from swarm.session.tickets import Answer
from swarm.state import Schema
from swarm.testing.simulation.exchanges import Capture
from swarm.testing.simulation.models import Library, Weights
from swarm.testing.simulation.plan import PeerPlan

if TYPE_CHECKING:
    from swarm.rounds.rules import RoundRules
    from swarm.testing.simulation.world import World

SCHEMA = Schema(())


@dataclass(frozen=True, slots=True)
class Synced:
    """The worker's answer to an offer; see :class:`swarm.session.tickets.Synced`. Models are named by digest."""

    answer: Answer
    commit: Commit | None = None
    before: Weights | None = None

    @property
    def model(self) -> str | None:
        """Digest of the committed model."""
        return self.commit.digest if self.commit else None

    @property
    def closing(self) -> bool:
        """Whether it brings the closing model."""
        return self.commit is not None and self.commit.closing


@dataclass(frozen=True, slots=True)
class Train:
    """The training thread is busy for so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Place:
    """The training thread offers a capture and waits for the answer."""

    capture: Capture
    status: PeerStatus


Training = Generator[Train | Place, Synced, None]


class SimulatedPeer:
    """What a peer's process does with its inputs. Mirrors :class:`swarm.session.engine.Engine`."""

    def __init__(self, world: World, plan: PeerPlan, incarnation: str, rules: RoundRules, rng: random.Random) -> None:
        self.name = plan.name
        self.plan = plan
        self.incarnation = incarnation
        self.running = True
        self.frozen = False
        self.finished = False
        """Whether local training is over."""
        self.outcome = ""
        """How it ended; empty while it runs."""
        self.weights = world.library.initial(f"{plan.name}/{incarnation}")
        self.reference: str | None = None
        self.store: set[str] = set()
        """Digests of the models whose bytes are here."""
        self.machine: RoundMachine = world.machine(plan.name, incarnation, rules, world.loop.now)
        self._world = world
        self._rng = rng
        self._info = PeerInfo(
            name=plan.name,
            incarnation=incarnation,
            address=plan.name,
            session=rules.session,
            weightage=plan.weightage,
            expects=rules.expected,
        )
        self._roster = Roster(self._info, SCHEMA)
        self._capture: Capture | None = None
        self._ticket = False
        self._late: deque[Synced] = deque()
        self._backlog: list[Callable[[], None]] = []
        self._wake: float | None = None
        self._dialling: dict[PeerId, float] = {}
        self._training: Training = world.training(self)
        self._leaving_since: float | None = None

    # Life ------------------------------------------------------------------------------------------------------------

    def start(self, names: tuple[PeerId, ...]) -> None:
        """The process starts: it greets the others and enters training."""
        for name in names:
            if name != self.name:
                self._dial_later(name, 0.0)
        self._resume(None)

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

    def merged(self, before: Weights, answer: Synced) -> None:
        """Its weights have been moved to a model that has its contribution."""
        if answer.commit and self.name in answer.commit.contributors:
            self._world.witness.merged(self, before, answer.commit)

    def leave(self) -> None:
        """Leave politely, from wherever training is."""
        self._tell(self.machine.live, Leave("asked to"))
        self.stop("left")

    def _resume(self, answer: Synced | None) -> None:
        try:
            request = next(self._training) if answer is None else self._training.send(answer)
        except StopIteration:
            self.finished = True
            self._leaving_since = self._world.loop.now
            self._linger()
            return
        if isinstance(request, Train):
            self._world.loop.after(request.seconds, lambda: self.do(lambda: self._resume(None)))
        else:
            self._offer(request)

    def _linger(self) -> None:
        assert self._leaving_since is not None
        over = self._world.loop.now >= self._leaving_since + 2 * self._world.schedule.failure_timeout
        if self.machine.closed and not self.machine.farewelled and not over:
            self._world.loop.after(0.3, lambda: self.do(self._linger))
            return
        self._tell(self.machine.live, Leave("training is over"))
        self.stop("closed" if self.machine.closed else "alone")

    def _offer(self, place: Place) -> None:
        self._ticket, self._capture = True, place.capture
        self.finished = place.status.finished
        if self._late:
            self._answer(self._late.popleft())
        elif self.machine.closed:
            self._answer(Synced(Answer.HEALED, self.machine.commit))
        else:
            weightage = 100 if self._world.boasts(self.name) else self.plan.weightage
            stats = ContributionStats(
                peer=self.name,
                round=self.machine.round,
                weightage=weightage,
                status=place.status,
                finite=place.capture.finite,
            )
            self._perform(self.machine.offer(stats, self._world.loop.now))

    def _answer(self, answer: Synced) -> None:
        if self._ticket:
            self._ticket = False
            self._world.loop.after(0.0, lambda: self.do(lambda: self._resume(answer)))
        elif answer.model is not None:
            late = Answer.LATE if answer.answer is Answer.MERGED else answer.answer
            self._late.append(replace(answer, answer=late))

    # The network -----------------------------------------------------------------------------------------------------

    def receive(self, envelope: Envelope) -> None:
        """A message has arrived."""
        message, roster, now = envelope.message, self._roster, self._world.loop.now
        if isinstance(message, Hello):
            self._greeted(message)
        elif isinstance(message, Refuse):
            pass
        elif not roster.is_live(envelope.sender, envelope.incarnation):
            self._send(envelope.sender, self._hello(wants_reply=True))
        elif isinstance(message, Leave):
            roster.leave(envelope.sender)
            self._perform(self.machine.peer_down(envelope.sender, now))
        else:
            self._world.witness.heard(self, envelope.sender, message)
            self._perform(self.machine.receive(envelope.sender, message, now))

    def lost(self, name: PeerId, incarnation: str) -> None:
        """A process cannot be reached any more."""
        if self._roster.is_live(name, incarnation) and self._roster.lose(name):
            self._dial_later(name, FIRST_RETRY)
            self._perform(self.machine.peer_down(name, self._world.loop.now))

    def _greeted(self, hello: Hello) -> None:
        clash = self._roster.clash(hello)
        if clash:
            self._send(hello.peer.name, clash)
            return
        self._roster.meet(hello.peer)
        if hello.wants_reply:
            self._send(hello.peer.name, self._hello(wants_reply=False))
        self._perform(
            self.machine.peer_up(hello.peer.name, hello.commit, self._world.loop.now, weightage=hello.peer.weightage)
        )

    def _hello(self, *, wants_reply: bool) -> Hello:
        return Hello(self._info, (), (), self.machine.commit, wants_reply)

    def _dial_later(self, name: PeerId, wait: float) -> None:
        if name not in self._dialling:
            self._dialling[name] = max(wait, FIRST_RETRY)
            self._world.loop.after(wait, lambda: self.do(lambda: self._dial(name)))

    def _dial(self, name: PeerId) -> None:
        pause = self._dialling.pop(name)
        known = self._roster.info(name)
        if known and self._roster.is_live(name, known.incarnation):
            return
        if self._world.network.alive(name):
            self._send(name, self._hello(wants_reply=True))
        if self._world.may_come(name):
            self._dialling[name] = min(2 * pause, LONGEST_RETRY)
            self._world.loop.after(pause, lambda: self.do(lambda: self._dial(name)))

    def _send(self, to: PeerId, message: Message) -> None:
        envelope = Envelope(self._info.session, self.name, self.incarnation, self.name, message)
        known = self._roster.info(to)
        incarnation = known.incarnation if known and self._roster.is_live(to, known.incarnation) else ""
        self._world.network.send(self, to, incarnation, envelope)

    def _tell(self, peers: frozenset[PeerId], message: Message) -> None:
        for peer in sorted(peers):
            self._send(peer, message)

    # Exchanges and catching up ---------------------------------------------------------------------------------------

    def exchanged(self, key: Key, digest: str) -> None:
        """An exchange is complete here."""
        self.store.add(digest)
        self._perform(self.machine.exchanged(key, digest, self._world.loop.now))

    def exchange_failed(self, key: Key, blamed: PeerId) -> None:
        """An exchange cannot finish here."""
        self._perform(self.machine.exchange_failed(key, blamed, f"{blamed} fails", self._world.loop.now))

    def healed(self, commit: Commit) -> None:
        """A committed model was fetched."""
        before = Weights(self.reference) if self.reference else None
        if self.machine.exposed and self._capture:
            before = self._capture.weights
        self.reference = commit.digest
        self.store.add(commit.digest)
        self._world.witness.healed(self, self.machine.commit, commit)
        self._perform(self.machine.healed(commit, self._world.loop.now))
        self._answer(Synced(Answer.HEALED, commit, before))

    def heal_failed(self, commit: Commit, source: PeerId) -> None:
        """It could not be fetched."""
        self._perform(self.machine.heal_failed(commit, (source,), self._world.loop.now))

    def fetched(self, digest: str, *, success: bool) -> None:
        """An undecided model was fetched, or could not be."""
        if success:
            self.store.add(digest)
        self._perform(self.machine.fetched(digest, self._world.loop.now, success=success))

    # Effects ---------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Time has passed."""
        self._perform(self.machine.tick(self._world.loop.now))

    def _perform(self, effects: list[Effect]) -> None:
        world = self._world
        if any(isinstance(effect, Apply) for effect in effects) and world.dies_deciding(self):
            for effect in effects:
                if isinstance(effect, Apply):
                    world.witness.applied(self, effect.commit)
            world.die_deciding(self)
            return
        if world.tell:
            for effect in effects:
                if not isinstance(effect, Send):
                    world.note(f"{self.name} {effect}")
        for effect in effects:
            match effect:
                case Send():
                    world.witness.says(self, effect.message)
                    self._send(effect.to, effect.message)
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
                case _:
                    world.witness.noticed(self, effect)
        self.store &= self.machine.needed | ({self.reference} if self.reference else set())
        self._set_alarm()

    def _apply(self, commit: Commit) -> None:
        before, self.reference = self.reference, commit.digest
        self._world.witness.applied(self, commit)
        self._world.committed(self, commit)
        if self.name in commit.group:
            self._answer(Synced(Answer.MERGED, commit))
        else:
            self._answer(Synced(Answer.HEALED, commit, Weights(before) if before else None))

    def _start_exchange(self, effect: StartExchange) -> None:
        proposal = effect.proposal
        self._world.witness.proposed(self, proposal)
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

        self._world.loop.at(due, lambda: self.do(ring))

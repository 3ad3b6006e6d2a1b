"""A swarm of round machines in memory: messages arrive at once and in order, and tests advance the time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from swarm.consensus.effects import (
    Apply,
    Effect,
    Fetch,
    Heal,
    Notice,
    Send,
    StartExchange,
    StopExchange,
)
from swarm.consensus.machine import RoundMachine
from swarm.consensus.paxos import leader_order
from swarm.consensus.rules import RoundRules
from swarm.messages import Message, PartialNorm, Proposal
from swarm.records import Commit, ContributionStats, PeerStatus
from swarm.sync import FixedInterval
from swarm.versions import UNNAMED, Versions

POLICY = FixedInterval(8)


class Peers:
    """Round machines by name, and what they asked for."""

    def __init__(self, names: Iterable[str], **rules: Any) -> None:
        settings = {
            "min_peers": 2,
            "expected": 0,
            "straggler_timeout": 1.0,
            "failure_timeout": 10.0,
            "start_timeout": 60.0,
        }
        policy = rules.pop("policy", POLICY)
        self.versions: dict[str, Versions] = rules.pop("versions", {})
        """Of the protocol, where a peer does not speak the first one only."""
        self.rules = RoundRules(session="s", policy=policy, first_sync=policy.start(), **{**settings, **rules})
        self.now = 0.0
        self.machines: dict[str, RoundMachine] = {}
        self.effects: dict[str, list[Effect]] = {}
        self.sent: list[tuple[str, str, Message]] = []
        self.drop: Callable[[str, str, Message], bool] = lambda sender, to, message: False
        self.exchanging = True
        self.bytes: dict[str, set[str]] = {}
        self.moved: dict[str, float] = {}
        """How far the weights that peers send have moved, where that is not what they offered."""
        self.tell_norms: Callable[[str, tuple[PartialNorm, ...]], tuple[PartialNorm, ...]] = lambda member, norms: norms
        self._wire: deque[tuple[str, str, Message]] = deque()
        self._joined: dict[tuple[Any, ...], dict[str, Proposal]] = {}
        self.stats: dict[str, ContributionStats] = {}
        """What each peer offered last."""
        for name in names:
            self.add(name)

    # Actions

    def add(self, name: str, incarnation: str = "1") -> None:
        """A process starts and is connected with all others."""
        rules = replace(self.rules, versions=self.versions.get(name, UNNAMED))
        self.machines[name] = RoundMachine(name, f"{name}{incarnation}", rules, self.now)
        self.effects[name] = []
        self.bytes[name] = set()
        for other in list(self.machines):
            if other != name:
                self.meet(name, other)

    def meet(self, one: str, two: str, weight: int = 1) -> None:
        for name, other in ((one, two), (two, one)):
            commit = self.machines[other].commit
            newest = self.versions.get(other, UNNAMED).newest
            self.do(name, self.machines[name].peer_up(other, commit, self.now, weight=weight, newest=newest))
        self.deliver()

    def offer(self, *names: str, status: PeerStatus = PeerStatus.TRAINING, **stats: Any) -> None:
        """Peers reach a sync point."""
        for name in names:
            fields = {"weight": 1, **stats}
            offered = ContributionStats(peer=name, round=0, status=status, **fields)
            self.stats[name] = offered
            self._offer(name)
        self.deliver()

    def crash(self, *names: str) -> None:
        """Processes die, and all others notice at once."""
        for name in names:
            del self.machines[name]
        self._wire = deque(item for item in self._wire if item[0] not in names)
        self.part(names, tuple(self.machines))

    def part(self, ones: Iterable[str], others: Iterable[str]) -> None:
        """The connections between two sides break."""
        for one in ones:
            for other in others:
                for name, lost in ((one, other), (other, one)):
                    if name in self.machines:
                        self.do(name, self.machines[name].peer_down(lost, self.now))
        self.deliver()

    def wait(self, seconds: float) -> None:
        """Time passes."""
        end = self.now + seconds
        while True:
            due = [deadline for machine in self.machines.values() if (deadline := machine.deadline()) is not None]
            moment = min([deadline for deadline in due if deadline > self.now], default=end)
            if moment > end:
                break
            self.now = moment
            for name, machine in list(self.machines.items()):
                self.do(name, machine.tick(self.now))
            self.deliver()
            if moment == end:
                return
        self.now = end

    def found(self, *names: str) -> None:
        """Found a lineage with these peers."""
        self.offer(*(names or tuple(self.machines)))
        if any(machine.commit is None for machine in self.machines.values()):
            self.wait(self.rules.straggler_timeout or 30.0)

    def deliver(self) -> None:
        """Deliver messages until there are none."""
        while self._wire:
            sender, to, message = self._wire.popleft()
            if to in self.machines and not self.drop(sender, to, message):
                self.do(to, self.machines[to].receive(sender, message, self.now))

    def tell(self, sender: str, to: str, message: Message) -> None:
        """Deliver a message that ``sender`` did not send by itself."""
        self.do(to, self.machines[to].receive(sender, message, self.now))
        self.deliver()

    # Results

    def commits(self, name: str) -> list[Commit]:
        return [effect.commit for effect in self.effects[name] if isinstance(effect, Apply)]

    def all(self, name: str, kind: type[Any]) -> list[Any]:
        return [effect for effect in self.effects[name] if isinstance(effect, kind)]

    def said(self, name: str) -> str:
        return "\n".join(effect.text for effect in self.all(name, Notice))

    def leader(self) -> str:
        """The first leader of the next round."""
        machine = next(iter(self.machines.values()))
        assert machine.commit is not None
        return leader_order(self.rules.session, machine.round, machine.commit.members)[0]

    # Effects

    def do(self, name: str, effects: list[Effect]) -> None:
        self.effects.setdefault(name, []).extend(effects)
        for effect in effects:
            match effect:
                case Send():
                    self.sent.append((name, effect.to, effect.message))
                    self._wire.append((name, effect.to, effect.message))
                case StartExchange():
                    self._joined.setdefault(effect.proposal.key, {})[name] = effect.proposal
                    if self.exchanging:
                        self.exchange(effect.proposal)
                case StopExchange():
                    self._joined.get(effect.key, {}).pop(name, None)
                case Heal():
                    self.do(name, self.machines[name].healed(effect.commit, self.now))
                    self.bytes[name].add(effect.commit.digest)
                    self._offer(name)
                case Fetch():
                    there = any(effect.digest in self.bytes[peer] for peer in effect.sources if peer in self.machines)
                    if there:
                        self.bytes[name].add(effect.digest)
                    self.do(name, self.machines[name].fetched(effect.digest, self.now, success=there))

    def exchange(self, proposal: Proposal) -> None:
        """Complete an exchange that all of the group have joined."""
        joined = self._joined.get(proposal.key, {})
        if set(proposal.group) <= joined.keys():
            stands = proposal.parent and not proposal.contributors
            merged = "+".join((proposal.parent[-6:], str(proposal.round), *proposal.senders))
            digest = proposal.parent if stands else merged
            for name in sorted(joined):
                self.bytes[name].add(digest)
                norms = self.tell_norms(name, self.norms(proposal))
                self.do(name, self.machines[name].exchanged(proposal.key, digest, norms, self.now))

    def norms(self, proposal: Proposal) -> tuple[PartialNorm, ...]:
        """What each member measures: an even share of every contribution."""
        contributing = [entry for entry in proposal.entries if entry.weight and proposal.parent]
        sent = {entry.peer: self.moved.get(entry.peer, entry.norm) for entry in contributing}
        return tuple(PartialNorm(peer, norm**2 / len(proposal.group)) for peer, norm in sent.items())

    def running(self) -> list[Proposal]:
        """Proposals of the exchanges that are under way."""
        return [next(iter(joined.values())) for joined in self._joined.values() if joined]

    def _offer(self, name: str) -> None:
        machine = self.machines[name]
        stats = replace(self.stats[name], round=machine.round)
        self.do(name, machine.offer(stats, self.now))


@pytest.fixture
def swarm() -> Callable[..., Peers]:
    """Makes a swarm of the given names."""
    return Peers


@pytest.fixture
def founded() -> Callable[..., Peers]:
    """Makes a swarm whose founding round is committed."""

    def make(*names: str, **rules: Any) -> Peers:
        peers = Peers(names, **{"expected": len(names), **rules})
        peers.found()
        return peers

    return make

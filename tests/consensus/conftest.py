"""A swarm of round machines in memory: messages arrive at once and in order, and tests advance the time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from swarm.certification.keys import ProcessKey, Signer
from swarm.certification.statements import record_hash
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
from swarm.consensus.forming import Table, form, signals
from swarm.consensus.machine import RoundMachine
from swarm.consensus.paxos import leader_order
from swarm.consensus.promises import signed_promise
from swarm.consensus.rules import RoundRules
from swarm.messages import Accept, Accepted, Failed, Message, Offer, PartialNorm, Prepare, Promise, Proposal, Ready
from swarm.records import Attempt, Commit, ContributionStats, Credential, PeerStatus, RecordKind
from swarm.sync import FixedInterval
from swarm.versions import UNNAMED, Versions
from tests import signing

from .players import OneLeader, OneMember

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
            "vouch": self._vouch,
        }
        policy = rules.pop("policy", POLICY)
        self.versions: dict[str, Versions] = rules.pop("versions", {})
        """Of the protocol, where a peer does not speak the first one only."""
        self.rules = RoundRules(session="s", policy=policy, first_sync=policy.start(), **{**settings, **rules})
        self.now = 0.0
        self.machines: dict[str, RoundMachine] = {}
        self.signers: dict[str, Signer] = {}
        """The key of each process."""
        self._keys: set[tuple[str, str]] = set()
        """Names and keys of all processes that there were."""
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
        self.waited: dict[str, tuple[str, ...]] = {}
        """For whom each peer says that it has waited, at its last exchange."""
        self.stats: dict[str, ContributionStats] = {}
        """What each peer offered last."""
        for name in names:
            self.add(name)

    # Actions

    def add(self, name: str, incarnation: str = "1", *, alone: bool = False) -> None:
        """A process starts and is connected with all others, unless it is to be ``alone``."""
        rules = replace(self.rules, versions=self.versions.get(name, UNNAMED), signer=ProcessKey())
        self.signers[name] = rules.signer
        self._keys.add((name, rules.signer.key))
        self.machines[name] = RoundMachine(name, f"{name}{incarnation}", rules, self.now)
        self.effects[name] = []
        self.bytes[name] = set()
        for other in list(self.machines):
            if other != name and not alone:
                self.meet(name, other)

    def _vouch(self, given: Credential, current: bool) -> str:
        """What an identity would say: no process has another one's name."""
        return "" if (given.peer, given.key) in self._keys else f"{given.peer} has not made it"

    def credential(self, name: str) -> Credential:
        """That of the key of a process."""
        return Credential(name, self.signers[name].key)

    def meet(self, one: str, two: str, weight: int = 1) -> None:
        for name, other in ((one, two), (two, one)):
            commit = self.machines[other].commit
            newest = self.versions.get(other, UNNAMED).newest
            effects = self.machines[name].peer_up(
                other, commit, self.now, weight=weight, newest=newest, credential=self.credential(other)
            )
            self.do(name, effects)
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

    # What peers would say, signed with their keys

    def offer_of(
        self, name: str, parent: Commit, *, votes: bool = True, gone: tuple[str, ...] = (), **stats: Any
    ) -> Offer:
        """The offer of a peer to the round after ``parent``."""
        told = ContributionStats(**{"peer": name, "round": parent.round + 1, "weight": 1, **stats})
        offer = Offer(parent.lineage, parent.digest, votes, told, record_hash(parent), gone)
        return signing.signed_offer(self.rules.session, self.signers[name], offer)

    def proposal(
        self, attempt: Attempt, parent: Commit, *offers: Offer, promised: Iterable[str] = (), **changes: Any
    ) -> Proposal:
        """What the leader of an attempt makes of these offers; those of ``promised`` had accepted nothing before."""
        mine = {offer.stats.peer: offer for offer in sorted(offers, key=lambda offer: offer.stats.peer)}
        table = Table(commit=parent, offers=mine, live=frozenset(mine))
        group = form(table, self.rules)
        told = {peer: self.promise(peer, parent, attempt) for peer in promised}
        fields = {
            "lineage": parent.lineage,
            "round": parent.round + 1,
            "attempt": attempt,
            "parent": parent.digest,
            "voters": parent.members,
            "members": group.members,
            "entries": group.entries,
            "sync": self.rules.policy.next(parent.sync, signals(table, self.rules)),
            "closing": table.all_finished,
            "done": table.done,
            "kind": RecordKind.ROUND,
            "previous": record_hash(parent),
            "rule": self.rules.merge_rule,
            "settings": self.rules.settings,
            "refused": group.refused,
            "origins": parent.origins,
            "offers": tuple(mine.values()),
            "promises": tuple(signed_promise(peer, each) for peer, each in told.items()),
            **changes,
        }
        keys = {peer: mine[peer].key if peer in mine else parent.key_of(peer) for peer in fields["members"]}
        new = tuple(self.credential(peer) for peer, key in keys.items() if key != parent.key_of(peer))
        return Proposal(**{"keys": tuple(keys.values()), "credentials": new, **fields})

    def promise(self, name: str, parent: Commit, attempt: Attempt, before: Accept | None = None) -> Promise:
        """The promise of a voter, in the round after ``parent``; ``before`` is what it has accepted until now."""
        signer, round_ = self.signers[name], parent.round + 1
        return signing.promise(self.rules.session, signer, parent.lineage, round_, attempt, before)

    def prepare(self, attempt: Attempt, lineage: str, round_: int = 1) -> Prepare:
        """The leader of an attempt asks for promises to it."""
        return signing.prepare(self.rules.session, self.signers[attempt.leader], lineage, round_, attempt)

    def ready(self, name: str, proposal: Proposal, digest: str, *told: Any) -> Ready:
        """``told`` are the norms and the digests of slices."""
        return signing.ready(self.rules.session, self.signers[name], proposal, digest, *told)

    def asks(self, proposal: Proposal, digest: str) -> Accept:
        """A leader asks to accept what the whole group has."""
        return Accept(proposal, digest, signing.readiness(self.rules.session, self.signers, proposal, digest))

    def accepted(self, name: str, proposal: Proposal, digest: str) -> Accepted:
        return signing.accepted(self.rules.session, self.signers[name], proposal, digest)

    def certified(self, record: Commit, **options: Any) -> Commit:
        """The record with the signatures of its group."""
        return signing.certified(self.rules.session, self.signers, record, **options)

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
                    self.waited[name] = self.machines[name].waited_for(effect.proposal.group)
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
            merged = ".".join((proposal.parent[-6:], str(proposal.round), *proposal.senders))
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


@pytest.fixture(autouse=True)
def mistake() -> Iterator[None]:
    """With ``MISTAKE``: the protocol has the mistake of that mutant of the simulation, and a test must notice."""
    name = os.environ.get("MISTAKE")
    if name is None:
        yield
        return
    from tests.simulator.liar_mutants import LIAR_MUTANTS
    from tests.simulator.mutants import MUTANTS

    with (LIAR_MUTANTS if name in LIAR_MUTANTS else MUTANTS).mutated(name):
        yield


@pytest.fixture
def swarm() -> Callable[..., Peers]:
    """Makes a swarm of the given names."""
    return Peers


@pytest.fixture
def founded() -> Callable[..., Peers]:
    """Makes a swarm whose founding round is committed."""

    def make(*names: str, **rules: Any) -> Peers:
        peers = Peers(names, **{"expected": len(names), "codecs": frozenset({"exact"}), **rules})
        peers.found()
        return peers

    return make


@pytest.fixture
def lead(founded: Callable[..., Peers]) -> OneLeader:
    """A leader whose offer is made."""
    return OneLeader(founded)


@pytest.fixture
def preparing(lead: OneLeader) -> OneLeader:
    """Its first attempt was aborted; it asks for promises for the second one."""
    lead.offers(lead.others)
    lead.hears(lead.others[0], Failed(*lead.proposal().key, lead.me, "a test"))
    lead.effects.clear()
    return lead


@pytest.fixture
def accepting(lead: OneLeader) -> OneLeader:
    """All of its group are ready, and asked to accept."""
    lead.offers(lead.others)
    lead.ready([lead.me, *lead.others])
    lead.effects.clear()
    return lead


@pytest.fixture
def member(founded: Callable[..., Peers]) -> OneMember:
    """A member whose offer is made, in attempts that others lead."""
    return OneMember(founded)

"""One machine whose peers a test plays: a leader, or a member of attempts that others lead."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from swarm.consensus.effects import Effect, Notice, Send, StartExchange
from swarm.consensus.machine import RoundMachine
from swarm.messages import Accept, Accepted, Message, Offer, PartialNorm, Prepare, Promise, Proposal, Propose
from swarm.records import Attempt, ContributionStats, PeerStatus


class OneLeader:
    """The machine of the first leader of round 1, in a session of four; its offer is made."""

    def __init__(self, founded) -> None:
        peers = founded("a", "b", "c", "d", straggler_timeout=3.0, failure_timeout=10.0)
        self.peers = peers
        self.me: str = peers.leader()
        self.machine: RoundMachine = peers.machines[self.me]
        self.others: list[str] = sorted({*"abcd"} - {self.me})
        self.now: float = peers.now
        self.effects: list[Effect] = []
        self.started: list[Proposal] = []
        commit = self.machine.commit
        assert commit is not None
        self.commit = commit
        stats = ContributionStats(peer=self.me, round=1, weight=1)
        self.do(self.machine.offer(stats, self.now))

    def do(self, effects: list[Effect]) -> list[Effect]:
        self.effects += effects
        self.started += [effect.proposal for effect in effects if isinstance(effect, StartExchange)]
        return effects

    def hears(self, sender: str, message: Message) -> list[Effect]:
        return self.do(self.machine.receive(sender, message, self.now))

    def wait(self, seconds: float) -> list[Effect]:
        """Time passes in one step."""
        self.now += seconds
        return self.do(self.machine.tick(self.now))

    def offers(self, names: Iterable[str], **stats: object) -> list[Effect]:
        effects = []
        for name in names:
            effects += self.hears(name, self.peers.offer_of(name, self.commit, **stats))
        return effects

    @property
    def said(self) -> str:
        return "\n".join(effect.text for effect in self.effects if isinstance(effect, Notice))

    def proposal(self) -> Proposal:
        return self.started[-1]

    def ready(self, names: Iterable[str], digest: str = "merged") -> list[Effect]:
        """These members have the model; the leader measures nothing unless named."""
        proposal, effects = self.proposal(), []
        norms = tuple(PartialNorm(peer, 0.0) for peer in proposal.senders)
        for name in names:
            if name == self.me:
                effects += self.do(self.machine.exchanged(proposal.key, digest, norms, self.now))
            else:
                effects += self.hears(name, self.peers.ready(name, proposal, digest, norms))
        return effects

    def promises(self, name: str, counter: int, before: Accept | None = None) -> list[Effect]:
        return self.hears(name, self.peers.promise(name, self.commit, Attempt(counter, self.me), before))

    def accepts(self, name: str) -> list[Effect]:
        return self.hears(name, self.peers.accepted(name, self.proposal(), "merged"))


def sent(effects: list[Effect], kind: type[Message]) -> dict[str, Message]:
    """The messages of a kind, by receiver."""
    return {
        effect.to: effect.message for effect in effects if isinstance(effect, Send) and type(effect.message) is kind
    }


class OneMember:
    """The machine of ``a``, which has offered to round 1; ``b``, ``c`` and so on are the other members."""

    def __init__(self, founded, names: str = "abc", **rules: Any) -> None:
        self.peers = founded(*names, **rules)
        self.names = names
        self.machine: RoundMachine = self.peers.machines["a"]
        self.now = self.peers.now
        commit = self.machine.commit
        assert commit is not None
        self.commit = commit
        self.offer()
        self.proposal = self.proposed()

    def proposed(self, counter: int = 5, leader: str = "b", *offers: Offer, group: str = "") -> Proposal:
        """What the leader of an attempt makes of ``offers`` and of one of each other peer of ``group``."""
        told = {peer: self.peers.offer_of(peer, self.commit) for peer in group or self.names}
        told |= {offer.stats.peer: offer for offer in offers}
        return self.peers.proposal(Attempt(counter, leader), self.commit, *told.values(), promised=self.names[1:])

    def of(self, peer: str, **stats: Any) -> Offer:
        """An offer of a peer to round 1."""
        return self.peers.offer_of(peer, self.commit, **stats)

    def asks(self, proposal: Proposal, digest: str) -> Accept:
        return self.peers.asks(proposal, digest)

    def accepted(self, proposal: Proposal, digest: str) -> Accepted:
        """The answer of ``a``."""
        return self.peers.accepted("a", proposal, digest)

    def promise(self, attempt: Attempt, before: Accept | None = None) -> Promise:
        """The promise of ``a``."""
        return self.peers.promise("a", self.commit, attempt, before)

    def prepare(self, attempt: Attempt) -> Prepare:
        """The leader of an attempt asks for promises."""
        return self.peers.prepare(attempt, self.commit.lineage)

    def offer(self, status: PeerStatus = PeerStatus.TRAINING, **stats: Any) -> list[Effect]:
        told = ContributionStats(**{"peer": "a", "round": self.machine.round, "weight": 1, "status": status, **stats})
        return self.machine.offer(told, self.now)

    def hears(self, sender: str, message: Message) -> list[Effect]:
        return self.machine.receive(sender, message, self.now)

    def joins(self, proposal: Proposal) -> list[Effect]:
        return self.hears(proposal.attempt.leader, Propose(proposal))

    def assembles(self, proposal: Proposal, digest: str) -> list[Effect]:
        return self.machine.exchanged(proposal.key, digest, (), self.now)

    @property
    def exposed(self) -> bool:
        """Whether a commit of round 1 may contain what ``a`` offered."""
        return self.machine.may_contain(replace(self.commit, round=1, contributors=("a", "b")))

    def answers(self, sender: str, message: Message) -> list[Message]:
        """What ``a`` sends back."""
        sent = [effect for effect in self.hears(sender, message) if isinstance(effect, Send)]
        return [effect.message for effect in sent if effect.to == sender]

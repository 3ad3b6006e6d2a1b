"""What signatures and certificates cost a round: ``python -m benchmarks.certificates``.

The state machines of all peers run in one process, without weights and without a network, and sign with real keys.
Measured is the CPU time that each peer spends on signing, on verifying and on hashes of records, of the rounds that
count; the peer that spends most is the result, which is that of the leader as a rule.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from time import process_time, thread_time

from benchmarks.harness.command import Benchmark, Record, integer
from benchmarks.harness.figures import aligned, verdict
from swarm.certification.keys import ProcessKey, Signer
from swarm.certification.statements import record_hash
from swarm.consensus.effects import Apply, Effect, Send, StartExchange
from swarm.consensus.machine import RoundMachine
from swarm.consensus.rules import RoundRules
from swarm.messages import Message, PartialNorm, Proposal
from swarm.records import ContributionStats, Credential, PeerId
from swarm.sync import FixedInterval

GOAL = 2.0
"""Milliseconds a round, at most, among eight peers."""
HASHES = 200
"""Hashes of one record that are timed."""


class TimedSigner(Signer):
    """A real key that counts what it is asked for, and the seconds that this takes."""

    def __init__(self) -> None:
        self._signer = ProcessKey()
        self.seconds = 0.0
        self.signed = 0
        self.verified = 0

    @property
    def key(self) -> str:
        return self._signer.key

    def sign(self, statement: bytes) -> str:
        self.signed += 1
        with self._timed():
            return self._signer.sign(statement)

    def verify(self, key: str, statement: bytes, signature: str) -> bool:
        self.verified += 1
        with self._timed():
            return self._signer.verify(key, statement, signature)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        start = thread_time()
        yield
        self.seconds += thread_time() - start

    def reset(self) -> None:
        """Count anew."""
        self.seconds, self.signed, self.verified = 0.0, 0, 0


class Machines:
    """The state machines of all peers; messages arrive at once, and exchanges end at once."""

    def __init__(self, peers: int) -> None:
        policy = FixedInterval(8)
        names = [f"site-{number}" for number in range(peers)]
        self.signers = {name: TimedSigner() for name in names}
        self.rounds = 0
        self._joined: dict[object, dict[PeerId, Proposal]] = {}
        self._sent: deque[tuple[PeerId, PeerId, Message]] = deque()
        self.machines = {
            name: RoundMachine(
                name,
                "1",
                RoundRules(
                    session="benchmark",
                    min_peers=peers // 2 + 1,
                    policy=policy,
                    first_sync=policy.start(),
                    expected=peers,
                    signer=signer,
                ),
                0.0,
            )
            for name, signer in self.signers.items()
        }
        for name, machine in self.machines.items():
            for other in names:
                if other != name:
                    known = Credential(other, self.signers[other].key)
                    self._do(name, machine.peer_up(other, None, 0.0, weight=1, credential=known))
        self.round()

    def round(self) -> None:
        """All peers offer, and commit."""
        done = self.rounds
        for name, machine in self.machines.items():
            self._do(name, machine.offer(ContributionStats(peer=name, round=machine.round, weight=1), 0.0))
        while self._sent:
            sender, to, message = self._sent.popleft()
            self._do(to, self.machines[to].receive(sender, message, 0.0))
        if self.rounds != done + len(self.machines):
            raise RuntimeError("not every peer has committed the round")

    def _do(self, name: PeerId, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._sent.append((name, effect.to, effect.message))
            elif isinstance(effect, Apply):
                self.rounds += 1
            elif isinstance(effect, StartExchange):
                proposal = effect.proposal
                joined = self._joined.setdefault(proposal.key, {})
                joined[name] = proposal
                if len(joined) == len(proposal.group):
                    del self._joined[proposal.key]
                    self._exchanged(proposal)

    def _exchanged(self, proposal: Proposal) -> None:
        norms = tuple(PartialNorm(peer, 0.0) for peer in proposal.senders) if proposal.parent else ()
        digest = f"{proposal.round:064x}"
        for name in proposal.group:
            self._do(name, self.machines[name].exchanged(proposal.key, digest, norms, 0.0))


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peers", type=integer(2, 64), default=8, help="(default 8)")
    parser.add_argument("--rounds", type=integer(5, 10000), default=100, help="that count (default 100)")


def _measure(options: argparse.Namespace) -> Record:
    machines = Machines(options.peers)
    for _ in range(5):
        machines.round()
    most, signed, verified, whole = [], [], [], []
    for _ in range(options.rounds):
        for signer in machines.signers.values():
            signer.reset()
        start = process_time()
        machines.round()
        whole.append((process_time() - start) / options.peers)
        busiest = max(machines.signers.values(), key=lambda signer: signer.seconds)
        most.append(busiest.seconds)
        signed.append(busiest.signed)
        verified.append(busiest.verified)
    commit = next(iter(machines.machines.values())).commit
    if commit is None:
        raise RuntimeError("no round was committed")
    start = thread_time()
    for _ in range(HASHES):
        record_hash.__wrapped__(commit)
    # A peer hashes each record twice: as it is proposed with its result, and before that the one that it follows.
    hashes = 2 * (thread_time() - start) / HASHES
    milliseconds = 1000 * (median(most) + hashes)
    return {
        "unit": "milliseconds a round",
        "peers": options.peers,
        "rounds": options.rounds,
        "signatures_and_hashes": round(milliseconds, 3),
        "hashes": round(1000 * hashes, 3),
        "signed": median(signed),
        "verified": median(verified),
        "whole_state_machine": round(1000 * median(whole), 3),
        "goal": {"at_most": GOAL, "met": milliseconds <= GOAL} if options.peers == 8 else None,
    }


def table(record: Record) -> str:
    """The figures for people."""
    goal = record["goal"]
    shown = f"goal {goal['at_most']:g} {verdict(goal['met'])}" if goal else ""
    rows = [
        ("of the busiest of", f"{record['peers']} peers", ""),
        ("signatures and hashes", f"{record['signatures_and_hashes']:.2f} ms a round", shown),
        ("signed, verified", f"{record['signed']:g}, {record['verified']:g}", ""),
        ("all of a state machine", f"{record['whole_state_machine']:.2f} ms a round", "mean of the peers"),
    ]
    return "\n".join(aligned(rows))


CERTIFICATES = Benchmark(name="certificates", description=__doc__, add_options=_options, measure=_measure, table=table)

if __name__ == "__main__":
    CERTIFICATES.main()

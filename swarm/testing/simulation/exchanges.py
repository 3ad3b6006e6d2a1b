"""Simulated exchanges: they take time, and fail when a member is gone, stops, or is made to fail."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from swarm.consensus.member import Key
from swarm.messages import PartialNorm, Proposal
from swarm.records import PeerId, PeerStatus
from swarm.testing.simulation.faults import FaultKind
from swarm.testing.simulation.loop import Loop
from swarm.testing.simulation.models import Library, Recipe, Violation, Weights
from swarm.testing.simulation.network import Network
from swarm.testing.simulation.plan import Schedule

if TYPE_CHECKING:
    from swarm.testing.simulation.peer import SimulatedPeer


@dataclass(slots=True)
class Capture:
    """The buffer that a peer captures its weights into."""

    weights: Weights
    finite: bool = True


@dataclass(slots=True)
class Stake:
    """What a member brought to an exchange."""

    process: SimulatedPeer
    capture: Capture
    weights: Weights
    """What the buffer held at the start."""


@dataclass(slots=True)
class Transfer:
    """One attempt's exchange."""

    proposal: Proposal
    stakes: dict[PeerId, Stake] = field(default_factory=dict)
    stopped: set[PeerId] = field(default_factory=set)
    settled: set[PeerId] = field(default_factory=set)
    digest: str = ""
    norms: tuple[PartialNorm, ...] = ()
    """What each member measures: an even share of every contribution."""


class Exchanges:
    """All exchanges of a run."""

    def __init__(self, loop: Loop, schedule: Schedule, network: Network, library: Library, rng: random.Random) -> None:
        self._loop = loop
        self._schedule = schedule
        self._network = network
        self._library = library
        self._rng = rng
        self._transfers: dict[Key, Transfer] = {}
        self._slow = [fault for fault in schedule.faults if fault.kind is FaultKind.SLOW]
        self._broken = [fault for fault in schedule.faults if fault.kind is FaultKind.BROKEN]

    def start(self, process: SimulatedPeer, proposal: Proposal, capture: Capture) -> None:
        """A member joins the exchange of an attempt, with the weights in ``capture``."""
        transfer = self._transfers.setdefault(proposal.key, Transfer(proposal))
        if process.name in transfer.stakes:
            if transfer.stakes[process.name].process is process:
                raise Violation("Isolation", f"{process.name} joins {proposal.key} twice")
            # The others have streams with the process that it replaces, and refuse those of this one.
            self._loop.after(0.0, lambda: process.do(lambda: process.exchange_failed(proposal.key, process.name)))
            return
        transfer.stakes[process.name] = Stake(process, capture, capture.weights)
        if len(transfer.stakes) == len(proposal.entries):
            for stake in transfer.stakes.values():
                self._loop.after(self._seconds(), lambda stake=stake: self._finish(transfer, stake))  # type: ignore[misc]
        else:
            wait = 2 * self._schedule.failure_timeout
            self._loop.after(wait, lambda: self._give_up(transfer, process))

    def stop(self, process: SimulatedPeer, key: Key) -> None:
        """A member leaves the exchange."""
        transfer = self._transfers.get(key)
        if transfer is None or process.name in transfer.settled:
            return
        transfer.stopped.add(process.name)
        self._broke(transfer, process)

    def vanished(self, process: SimulatedPeer) -> None:
        """A process is gone with all its streams."""
        for transfer in self._transfers.values():
            stake = transfer.stakes.get(process.name)
            if stake and stake.process is process and len(transfer.settled) < len(transfer.stakes):
                self._broke(transfer, process)

    def _broke(self, transfer: Transfer, process: SimulatedPeer) -> None:
        """What this member still had to send does not come any more."""
        for stake in transfer.stakes.values():
            if stake.process is not process and stake.process.name not in transfer.settled:
                near = self._network.connected(process.name, stake.process.name)
                wait = self._rng.random() * 0.1 if near else self._schedule.failure_timeout
                self._fail_later(transfer, stake.process, process.name, wait)

    def _seconds(self) -> float:
        now = self._loop.now
        factor = 10.0 if any(fault.at <= now < fault.end for fault in self._slow) else 1.0
        return self._schedule.transfer * factor * self._rng.random()

    def _finish(self, transfer: Transfer, stake: Stake) -> None:
        me, plan, rng = stake.process, self._schedule, self._rng
        if me.name in transfer.settled or me.name in transfer.stopped or not me.running:
            return
        if any(fault.at <= self._loop.now < fault.end for fault in self._broken) and rng.random() < 0.3:
            self._fail_later(transfer, me, rng.choice(sorted(transfer.stakes)), 0.0)
            return
        for other in transfer.stakes.values():
            cut = not self._network.connected(me.name, other.process.name) or other.process.frozen
            if other is not stake and cut and other.process.name not in transfer.stopped and other.process.running:
                # Nothing comes for now: wait, up to the failure timeout.
                self._loop.after(plan.failure_timeout / 2, lambda: self._finish(transfer, stake))
                self._fail_later(transfer, me, other.process.name, plan.failure_timeout)
                return
        for other in transfer.stakes.values():
            gone = other.process.name in transfer.stopped or not other.process.running
            if gone and other.process.name not in transfer.settled:
                self._fail_later(transfer, me, other.process.name, 0.0)
                return
        self._assemble(transfer, me)

    def _torn(self, transfer: Transfer) -> bool:
        """Whether a capture was overwritten while it was sent."""
        stakes = [transfer.stakes[entry.peer] for entry in transfer.proposal.entries if entry.weight]
        return any(stake.capture.weights != stake.weights for stake in stakes)

    def _assemble(self, transfer: Transfer, me: SimulatedPeer) -> None:
        proposal = transfer.proposal
        if not transfer.digest:
            contributions = [
                (transfer.stakes[entry.peer].weights, entry.weight) for entry in proposal.entries if entry.weight
            ]
            self._check_contributions(transfer)
            moved = self._moved(transfer)
            honest = all(entry.norm == moved[entry.peer] for entry in proposal.entries if entry.peer in moved)
            transfer.digest = self._library.merge(contributions, Recipe(proposal.group, proposal.counted, honest))
            share = len(proposal.group)
            transfer.norms = tuple(PartialNorm(peer, norm**2 / share) for peer, norm in moved.items())
        digest = f"{transfer.digest} torn" if self._torn(transfer) else transfer.digest
        transfer.settled.add(me.name)
        # The worker hears of it a little later, perhaps after it has stopped the exchange.
        key, norms = proposal.key, transfer.norms
        self._loop.after(self._rng.random() * 0.02, lambda: me.do(lambda: me.exchanged(key, digest, norms)))

    def _moved(self, transfer: Transfer) -> dict[PeerId, float]:
        """How far each contribution is from the parent model; empty where there is none."""
        proposal = transfer.proposal
        contributors = proposal.contributors if proposal.parent else ()
        return {peer: self._library.distance(transfer.stakes[peer].weights, proposal.parent) for peer in contributors}

    def _check_contributions(self, transfer: Transfer) -> None:
        """Training peers merge on top of the parent, and nothing that the parent has."""
        proposal = transfer.proposal
        for entry in proposal.entries:
            stake = transfer.stakes[entry.peer]
            if not entry.weight or not proposal.parent or entry.status is not PeerStatus.TRAINING:
                continue
            if stake.weights.base != proposal.parent:
                text = f"{entry.peer} contributes steps on {stake.weights.base} to a round on {proposal.parent}"
                raise Violation("Atomicity", text)
            if not stake.capture.finite:
                raise Violation("Honest count", f"{entry.peer} offered NaN and counts {entry.weight}")
            self._library.check(stake.weights)

    def _give_up(self, transfer: Transfer, process: SimulatedPeer) -> None:
        missing = [name for name in transfer.proposal.group if name not in transfer.stakes]
        if missing:
            self._fail_later(transfer, process, missing[0], 0.0)

    def _fail_later(self, transfer: Transfer, process: SimulatedPeer, blamed: PeerId, wait: float) -> None:
        key = transfer.proposal.key

        def fail() -> None:
            if process.name not in transfer.settled and process.name not in transfer.stopped and process.running:
                transfer.settled.add(process.name)
                process.do(lambda: process.exchange_failed(key, blamed))

        self._loop.after(wait, fail)

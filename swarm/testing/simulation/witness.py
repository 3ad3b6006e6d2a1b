"""Watches every step of a run, and raises :class:`Violation` where an invariant does not hold."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from swarm.consensus.effects import Notice
from swarm.consensus.norms import ABSURD, FEWEST
from swarm.consensus.order import majority
from swarm.messages import Accept, Accepted, Message, Proposal
from swarm.records import Attempt, Commit, ContributionStats, PeerId, PeerStatus
from swarm.testing.simulation.faults import FaultKind
from swarm.testing.simulation.models import Library, Recipe, Violation, Weights, bits
from swarm.testing.simulation.plan import STRANGERS, Schedule

if TYPE_CHECKING:
    from swarm.testing.simulation.peer import SimulatedPeer


ACCUSED = re.compile(r"(\w+) offered weights that have moved")
UNMEASURED = re.compile(r"(\w+) did not measure")
SCREENED = re.compile(r"contribution of (\w+) left out: its? .*moved")
"""Who is said to have claimed what is not true."""
PASSED_OVER = 6
"""Rounds in a row that may pass a peer over."""


class Witness:
    """Knows all that was ever committed, by anybody, also by the dead."""

    def __init__(self, schedule: Schedule, library: Library) -> None:
        self.commits: dict[tuple[str, int], Commit] = {}
        self.forks: set[str] = set()
        self.aborted = 0
        self.heals = 0
        self.skipped = 0
        self._passed_over: Counter[str] = Counter()
        self._library = library
        self._plans = {peer.name: peer for peer in (*schedule.peers, *STRANGERS)}
        self._liars = {name for fault in schedule.faults if fault.kind is FaultKind.LIE for name in fault.peers}
        self._losses: dict[tuple[PeerId, str, int], set[tuple[int, float | None]]] = {}
        self._asked: dict[tuple[PeerId, tuple[str, int, Attempt]], str] = {}

    # Commits ---------------------------------------------------------------------------------------------------------

    def applied(self, peer: SimulatedPeer, commit: Commit) -> None:
        """A process commits a round with the bytes it holds."""
        if commit.digest not in peer.store:
            raise Violation("Durability", f"{peer.name} applies {commit.digest} and does not hold it")
        self._passed_over[peer.incarnation] = 0
        self._record(peer, commit)

    def healed(self, peer: SimulatedPeer, before: Commit | None, commit: Commit) -> None:
        """A process took a committed model over."""
        self.heals += 1
        if before and before.lineage != commit.lineage:
            if (before.weight, before.round, commit.lineage) > (commit.weight, commit.round, before.lineage):
                raise Violation("Agreement", f"{peer.name} gives {before} up for the lighter {commit}")
        elif before and before.round >= commit.round:
            raise Violation("Agreement", f"{peer.name} goes back from round {before.round} to {commit.round}")
        elif before and peer.name not in self._liars:
            self._passed_over[peer.incarnation] += 1
        if self._passed_over[peer.incarnation] > PASSED_OVER:
            text = f"{peer.name} catches up with {PASSED_OVER} rounds in a row and is taken into none"
            raise Violation("Progress", text)
        self._record(peer, commit)

    def _record(self, peer: SimulatedPeer, commit: Commit) -> None:
        if commit.digest.endswith(" torn"):
            raise Violation("Atomicity", f"{commit.digest} has a capture that was overwritten while it was sent")
        known = self.commits.setdefault((commit.lineage, commit.round), commit)
        if known != commit:
            raise Violation("Agreement", f"{peer.name} has {commit} where another has {known}")
        recipe = Recipe(commit.group, commit.contributors)
        if not self._library.made_by(commit.digest, recipe):
            text = f"{commit.digest} is said to come from {commit.contributors} of {commit.group}, and does not"
            if self._library.made_by(commit.digest, replace(recipe, as_offered=False)):
                text = f"{commit.digest} counts a contribution that contradicts its offer"
            raise Violation("Honest count", text)

    def resumed(self, peer: SimulatedPeer, commit: Commit) -> None:
        """A process goes on from what it found on its disk."""
        if self.commits.get((commit.lineage, commit.round)) != commit:
            raise Violation("Durability", f"{peer.name} resumes from {commit}, which was never committed")

    # What is said ----------------------------------------------------------------------------------------------------

    def offers(self, peer: SimulatedPeer, stats: ContributionStats) -> None:
        """A process offers itself to a round."""
        lineage = peer.machine.commit.lineage if peer.machine.commit else ""
        self._losses.setdefault((peer.name, lineage, stats.round), set()).add((stats.weight, stats.loss))

    def heard(self, peer: SimulatedPeer, sender: PeerId, message: Message) -> None:
        """A process is about to handle a message."""
        if self._plans[sender].session != peer.plan.session:
            raise Violation("Isolation", f"{peer.name} handles {message} of {sender}, of another session")
        if isinstance(message, Accept):
            self._asked[peer.name, message.proposal.key] = message.digest

    def says(self, peer: SimulatedPeer, message: Message) -> None:
        """A process sends a message."""
        if isinstance(message, Accepted):
            digest = self._asked[peer.name, (message.lineage, message.round, message.attempt)]
            if digest not in peer.store:
                raise Violation("Durability", f"{peer.name} accepts {digest} and does not hold it")

    def noticed(self, notice: Notice) -> None:
        """A process tells its user something."""
        if notice.failed and "aborted: " in notice.text:
            self.aborted += 1
        accused = {*ACCUSED.findall(notice.text), *UNMEASURED.findall(notice.text)}
        if len(self._liars) < 2:  # with more, the median of three may be a lie
            accused.update(SCREENED.findall(notice.text))
        for name in sorted(accused):
            if name not in self._liars:
                raise Violation("Honest count", f"{name} never lied, and is told: {notice.text}")

    def proposed(self, peer: SimulatedPeer, proposal: Proposal) -> None:
        """A process joins an attempt; what its leader put together is checked where the leader does."""
        if peer.name != proposal.attempt.leader:
            return
        for entry in proposal.entries:
            plan = self._plans[entry.peer]
            if plan.session != peer.plan.session:
                raise Violation("Isolation", f"{peer.name} takes {entry.peer} of another session into its group")
            if entry.peer == peer.name:
                continue  # who leads and lies about itself is believed
            handed_round = len(proposal.contributors) == 1 and entry.weight == 1
            if entry.weight not in {0, plan.weight} and not handed_round:
                text = f"{entry.peer} joined with weight {plan.weight} and counts {entry.weight}"
                raise Violation("Honest count", text)
        self._sizes(peer, proposal)
        commit = peer.machine.commit
        if commit:
            self._paces(peer, commit, proposal)
        if commit and proposal.lineage != commit.lineage:
            self._forks(peer, commit, proposal)
        if proposal.closing:
            self._closes(peer, proposal)

    def _sizes(self, peer: SimulatedPeer, proposal: Proposal) -> None:
        trained = (entry for entry in proposal.entries if entry.weight and entry.status is PeerStatus.TRAINING)
        training = [entry for entry in trained if entry.norm]
        middle = median([entry.norm for entry in training] or [0.0])
        for entry in training:
            if len(training) >= FEWEST and entry.norm > ABSURD * middle:
                text = f"{peer.name} takes {entry.peer} in, which says that it has moved by {entry.norm:g}"
                raise Violation("Honest count", text)

    def _paces(self, peer: SimulatedPeer, commit: Commit, proposal: Proposal) -> None:
        losses = []
        for name in proposal.group:
            said = self._losses.get((name, commit.lineage, proposal.round), set())
            if len(said) != 1:
                return  # it offered twice, and either offer may have arrived
            ((claimed, loss),) = said
            if loss is not None:
                losses.append((claimed if name == peer.name else min(claimed, self._plans[name].weight), loss))
        expected = peer.rules.policy.next(commit.sync, losses)
        if proposal.sync != expected:
            raise Violation("Honest count", f"{peer.name} makes it {proposal.sync}; the losses say {expected}")

    def _forks(self, peer: SimulatedPeer, commit: Commit, proposal: Proposal) -> None:
        self.forks.add(proposal.lineage)
        reachable = peer.machine.live | {peer.name}
        present = [other for name in reachable if (other := peer.process(name)) and other.machine.commit == commit]
        voting = {other.name for other in present if other.machine.votes}
        if majority(commit.members, voting):
            raise Violation("Agreement", f"{peer.name} forks though it reaches {sorted(voting)}, a majority")
        least = peer.rules.min_peers
        if 2 * least > len(commit.members) and not majority(commit.members, proposal.group):
            raise Violation("Agreement", f"{peer.name} forks against min_peers={least}")

    def _closes(self, peer: SimulatedPeer, proposal: Proposal) -> None:
        for name in sorted(peer.machine.live | {peer.name}):
            other = peer.process(name)
            if other and other is not peer and not peer.contacts.knows(name, other.incarnation):
                continue  # a new process in the place of one that had finished, and not met yet
            if other and not other.finished:
                raise Violation("Progress", f"{peer.name} closes the session while {name} still trains")

    # Weights ---------------------------------------------------------------------------------------------------------

    def weights(self, peer: SimulatedPeer) -> None:
        """Steps count once, on top of a committed model or of the peer's own beginning."""
        self._library.check(peer.weights)

    def merged(self, peer: SimulatedPeer, before: Weights, commit: Commit) -> None:
        """A peer took a model over that it contributed to: what it no longer has on top must be in there."""
        lost = before.own & ~peer.weights.own & ~self._library.contains(commit.digest)
        if lost:
            raise Violation("Atomicity", f"{peer.name} loses steps {list(bits(lost))}, which {commit.digest} lacks")

    def ended(self, peer: SimulatedPeer) -> None:
        """A process ended of itself."""
        commit = peer.machine.commit
        if commit and commit.closing and peer.outcome == "closed" and peer.weights.digest != commit.digest:
            raise Violation("Identity at the end", f"{peer.name} ends with {peer.weights.digest}, not {commit.digest}")

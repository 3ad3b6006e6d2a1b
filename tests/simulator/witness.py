"""Watches every step of a run, and raises :class:`Violation` where an invariant does not hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from swarm.certification.chain import stands
from swarm.certification.statements import record_hash
from swarm.consensus.norms import ABSURD, FEWEST
from swarm.errors import ExchangeError
from swarm.messages import Accept, Accepted, FetchRequest, Hello, Offer, Propose, Ready, Withdraw
from swarm.quorums import is_quorum, quorum_size
from swarm.records import PeerStatus, RecordKind
from swarm.tensors.state import MOMENTS
from tests.simulator.faults import FaultKind
from tests.simulator.model import ROUNDING, Steps, Taken, Weights, steps_between, weights_of
from tests.simulator.plan import CHECKIN_MODES, SESSION, STRANGERS
from tests.simulator.process import PLUGINS
from tests.simulator.violation import Violation

if TYPE_CHECKING:
    from swarm.messages import Entry, Message, Proposal, StreamHeader
    from swarm.records import Attempt, Commit, PeerId
    from swarm.storage.ledger import Ledger
    from swarm.tensors.state import Array, ModelState
    from tests.simulator.plan import Schedule
    from tests.simulator.process import Process

    Key = tuple[str, int, Attempt]

ACCUSED = re.compile(r"(\w+) offered weights that have moved")
UNMEASURED = re.compile(r"(\w+) did not measure")
SCREENED = re.compile(r"contribution of (\w+) left out: its? .*moved")
"""Who is said to have claimed what is not true."""
LAST_ROUNDS = 3
"""Rounds at most until a peer stops training on: the first one, and those that merge what it has trained meanwhile."""
REMOVED = re.compile(r"(\w+) has signed two results")
"""Who is said to have voted twice."""
PASSED_OVER = 12
"""Rounds in a row that may pass a peer over."""
CODING = {"exact": 1e-5, "bf16": 0.01, "int8": 0.01}
"""How far a merged model may be from the mean of what was contributed, as a part of the largest change; codecs that
send residuals add what they had left."""


@dataclass(frozen=True, slots=True)
class Merged:
    """A committed model."""

    commit: Commit
    values: Weights
    steps: Steps
    """Those that went into it."""


class Witness:
    """Knows all that was ever committed, by anybody, also by the dead."""

    def __init__(
        self,
        schedule: Schedule,
        reached: Callable[[Process], list[Process]],
        ledger: Callable[[Process], Ledger],
    ) -> None:
        """Nothing was committed yet.

        Args:
            schedule: what will happen.
            reached: gives the processes that a process believes to be there, itself first.
            ledger: gives the one of a process.
        """
        self._ledger = ledger
        self.commits: dict[tuple[str, int], Commit] = {}
        self.forks: set[str] = set()
        self.aborted = 0
        self.heals = 0
        self.coded = 0
        """Rounds that were merged with a codec that loses something."""
        self.overlapped = 0
        """Merged models to which steps of a training that went on were added."""
        self._schedule = schedule
        self._reached = reached
        self._basis: dict[Process, Merged] = {}
        """The committed model that each process has loaded last."""
        self._merged: dict[tuple[str, int, str], Merged] = {}
        self._lying = frozenset(schedule.liars)
        self.disagreements: list[Commit] = []
        """Records of which honest peers had another one of the same round."""
        self._accepts: dict[PeerId, set[str]] = {}
        """The signatures that each honest peer has given as a voter."""
        self._records: dict[str, Commit] = {}
        """Every record that honest peers have committed, by its hash."""
        self.proven: set[PeerId] = set()
        """Peers that were proven to have voted twice."""
        self._steps: dict[str, Steps] = {"": 0}
        """What went into a model, by its digest."""
        self.values: dict[str, Weights] = {}
        """Committed models, by digest."""
        self._moments: dict[str, tuple[Array, int]] = {}
        """Optimizer state of committed models, by digest."""
        self._last: dict[Process, Commit] = {}
        self._passed_over: Counter[Process] = Counter()
        self._told_to_stop: Counter[Process] = Counter()
        """Rounds that each process has taken part in after which nobody is to train on."""
        self._plans = {peer.name: peer for peer in (*schedule.peers, *STRANGERS)}
        self._liars = {name for fault in schedule.faults if fault.kind is FaultKind.LIE for name in fault.peers}
        self._losses: dict[tuple[PeerId, str, int], set[tuple[int, float | None]]] = {}
        self._voting: dict[Process, bool] = {}
        """Whether each process said last that it votes."""
        self._residuals: dict[PeerId, float] = {}
        """What each peer said last that it has left to send: of what it contributes, and of what it merges for all."""
        self._proposals: dict[Key, Proposal] = {}
        self._assembled: dict[tuple[str, int, str], Key] = {}
        self._contributions: dict[tuple[Key, PeerId], Taken] = {}

    # Commits ---------------------------------------------------------------------------------------------------------

    def last(self, process: Process) -> Commit | None:
        """The commit that a process was last seen with."""
        return self._last.get(process)

    def proposal(self, header: StreamHeader) -> Proposal | None:
        """The proposal of the attempt that a stream belongs to."""
        return self._proposals.get((header.lineage, header.round, header.attempt))

    def committed(self, process: Process, commit: Commit) -> Proposal | None:
        """A process goes on from a commit; the proposal that is committed, where others than one peer know of it."""
        before = self._last.get(process)
        self._last[process] = commit
        self._told_to_stop[process] += commit.done and process.trained and process.name in commit.group
        self.decided(process, commit)
        if self._lying:
            self._as_offers_give(process, commit)
        reference = process.session.reference
        if reference is None or not _holds(process, commit):
            raise Violation("Durability", f"{process.name} applies {commit.digest} and does not hold it")
        key = self._assembled.get((commit.lineage, commit.round, commit.digest))
        proposal = self._proposals.get(key) if key else None
        if (commit.lineage, commit.round, commit.digest) not in self._merged:
            parent = proposal.parent if proposal else before.digest if before else ""
            self._record(process, commit, weights_of(reference), key, proposal, parent)
            self._record_moments(process, reference, key, proposal, parent)
        if before:
            self._follows(process, before, commit, proposal)
        return proposal

    def decided(self, process: Process, commit: Commit) -> None:
        """A process knows that a round is committed, even if it dies before it can apply it."""
        self._is_certified(process, commit)
        known = self.commits.setdefault((commit.lineage, commit.round), commit)
        if known != commit and self._schedule.excess:
            self.disagreements.append(commit)
        elif known != commit:
            raise Violation("Agreement", f"{process.name} has {commit} where another has {known}")

    def _as_offers_give(self, process: Process, commit: Commit) -> None:
        """However many lie, the honest take part in no record that the offers do not give."""
        if process.name not in commit.group:
            return  # a lineage of liars only, which it joins, may hold anything
        before = self._records.get(commit.previous)
        if before and self._lying.issuperset(before.members):
            return  # so may one that they alone have decided, though it names this one
        text = f"{process.name} has {commit}"
        weights = {name: self._plans[name].weight for name in commit.group}
        if any(weight not in {0, 1, weights[name]} for name, weight in zip(commit.group, commit.weights, strict=True)):
            raise Violation("Honest count", f"{text}, with other weights than were declared")
        longest = max(8 * process.settings.sync_interval, before.sync.interval if before else 0)
        if commit.sync.interval > longest:
            raise Violation("Honest count", f"{text}, with a longer interval than any policy gives")
        if commit.closing and not process.trained and not process.hurried:
            raise Violation("Progress", f"{text}, which closes the session while it still trains")

    def _is_certified(self, process: Process, commit: Commit) -> None:
        """A record follows a committed one, and as many honest voters have signed it as a quorum without liars has."""
        record = record_hash(commit)
        if record in self._records or process.plan.session != SESSION:
            return
        self._records[record] = commit
        before = self._records.get(commit.previous) or self._ledger(process).get(commit.previous)
        if before is not None:
            self._is_certified(process, before)  # it has caught up with several rounds at once
        if commit.previous and before is None:
            raise Violation("Certificate", f"{process.name} has {commit}, which follows no committed record")
        own = commit.kind is not RecordKind.ROUND or before is None
        voters = {*(commit.members if own or before is None else before.members)}
        voters -= {proof.peer for proof in commit.proofs}
        needed = quorum_size(len(voters), 0 if own else self._schedule.tolerated) - len(voters & self._lying)
        certificate = commit.certificate
        signatures = certificate.signatures if certificate else ()
        signed = {each.peer for each in signatures if each.value in self._accepts.get(each.peer, ())}
        if certificate:
            signed |= {certificate.attempt.leader} - self._lying  # which does not send its own accept
        if len(signed & voters) < needed:
            text = f"{process.name} has {commit}, which of the honest only {sorted(signed)} have accepted"
            raise Violation("Certificate", text)

    def _follows(self, process: Process, before: Commit, commit: Commit, proposal: Proposal | None) -> None:
        name = process.name
        if before.lineage != commit.lineage:
            forked = name in commit.group and (proposal is None or proposal.parent == before.digest)
            if not forked and stands(before, commit):
                raise Violation("Agreement", f"{name} gives {before} up for {commit}, against which it stands")
        elif before.round >= commit.round and not self._schedule.excess:
            raise Violation("Agreement", f"{name} goes back from round {before.round} to {commit.round}")
        elif name in commit.group:
            self._passed_over[process] = 0
        elif name not in self._liars:
            self._passed_over[process] += 1
        # With overlap a slow peer offers again only at a later batch, which may be too late each time.
        if self._passed_over[process] > PASSED_OVER and not self._schedule.overlap and not self._lying:
            if not any(name in _left_out(other) for other in self._reached(process)):
                text = f"{name} catches up with {PASSED_OVER} rounds in a row and is taken into none"
                raise Violation("Progress", text)
            self._passed_over[process] = 0  # short rounds pass while an attempt that failed with it counts

    def _record(
        self,
        process: Process,
        commit: Commit,
        values: Weights,
        key: Key | None,
        proposal: Proposal | None,
        parent: str,
    ) -> None:
        """The first process has committed a round; ``parent`` is the digest of the model that it builds on."""
        steps = self._steps.get(parent, 0)
        given: list[tuple[Weights, int]] = []
        for name in commit.contributors if commit.round else ():
            contribution = self._contributions.get((key, name)) if key else None
            if contribution is None:
                if name != process.name:
                    continue  # it told nobody: a group of one
                contribution = process.offered
            entry = next((entry for entry in proposal.entries if entry.peer == name), None) if proposal else None
            if entry and entry.status is PeerStatus.ACTIVE:
                contribution = Taken(self.values[parent], 0)
            steps |= contribution.own
            if entry:
                given.append((contribution.values, entry.weight))
                if not self._lying:
                    self._as_offered(entry, contribution.values, parent)
        self._steps[commit.digest] = steps | self._steps.get(commit.digest, 0)
        self.values[commit.digest] = values = values.copy()
        self._merged[commit.lineage, commit.round, commit.digest] = Merged(commit, values, steps)
        # What a lying member has merged in its slice, nobody else can tell.
        if (
            proposal
            and self._lying.isdisjoint(commit.group)
            and proposal.parent
            and len(given) == len(commit.contributors)
            and given
        ):
            self._equals(commit, values, given, proposal)

    def _record_moments(
        self, process: Process, reference: ModelState, key: Key | None, proposal: Proposal | None, parent: str
    ) -> None:
        """Optimizer state is merged of the peers that train and have some, or stays that of the parent."""
        if self._lying or reference.schema.moments is None:
            return
        moments, steps = reference.segments[MOMENTS].copy(), int(reference.side[0][0])
        self._moments[reference.digest()] = moments, steps
        if proposal is None or key is None:
            return
        training = [entry for entry in proposal.entries if entry.weight and not entry.status.finished]
        taken = {entry.peer: self._contributions.get((key, entry.peer)) for entry in training}
        if None in taken.values() or (parent and parent not in self._moments):
            return
        having = [(each, entry.weight) for entry in training if (each := taken[entry.peer]) and each.steps]
        rule = PLUGINS.merge_rule("mean" if self._schedule.averaging or not parent else "coordmedian")
        expected = self._moments[parent] if parent else (np.zeros_like(moments), 0)
        if having:
            merged = rule.merge(
                [each.moments for each, _ in having if each.moments is not None], [w for _, w in having]
            )
            expected = merged, max(each.steps for each, _ in having)
        if expected[0].tobytes() != moments.tobytes() or expected[1] != steps:
            raise Violation("Atomicity", f"{process.name} has other optimizer state than the peers that train")

    def _as_offered(self, entry: Entry, values: Weights, parent: str) -> None:
        """What a peer contributed has moved as far as it had said."""
        moved = float(np.linalg.norm(values - self.values[parent])) if parent else 0.0
        if entry.status is not PeerStatus.ACTIVE and parent and abs(moved - entry.norm) > ROUNDING * (1.0 + moved):
            text = f"{entry.peer} counts with weights that have moved by {moved:g}, and had offered {entry.norm:g}"
            raise Violation("Honest count", text)

    def _equals(self, commit: Commit, values: Weights, given: list[tuple[Weights, int]], proposal: Proposal) -> None:
        """What was merged is what was contributed."""
        rule = PLUGINS.merge_rule("mean" if self._schedule.averaging else "coordmedian")
        merged = rule.merge([array for array, _ in given], [weight for _, weight in given])
        expected = merged.astype(np.float32)
        residual = sum(self._residuals.get(peer, 0.0) for peer in proposal.group)
        largest = max(float(np.abs(array - self.values[proposal.parent]).max()) for array, _ in given) + 1.0
        allowed = CODING[proposal.codec] * (largest + residual) + residual * (proposal.codec != "exact")
        self.coded += proposal.codec != "exact"
        off = float(np.abs(values - expected).max())
        if not off <= allowed:
            text = f"{commit.digest} is {off:g} away from the merge of {commit.contributors}, allowed is {allowed:g}"
            raise Violation("Atomicity", text)

    def resumed(self, process: Process, commit: Commit) -> None:
        """A process goes on from what it found on its disk."""
        if self.commits.get((commit.lineage, commit.round)) != commit:
            raise Violation("Durability", f"{process.name} resumes from {commit}, which was never committed")

    def over(self) -> None:
        """The run is over: where honest peers disagreed, they have found out who voted twice."""
        if self.disagreements and not self.proven:
            raise Violation(
                "Proof", f"{self.disagreements[0]} is not the only record of its round, and nobody is proven"
            )

    # What is said ----------------------------------------------------------------------------------------------------

    def says(self, process: Process, message: Message) -> None:
        """A process sends a message."""
        match message:
            case Offer(lineage=lineage, stats=stats):
                process.offer = message
                if stats.status is PeerStatus.EXTENDED and self._told_to_stop[process] > LAST_ROUNDS:
                    raise Violation("Progress", f"{process.name} trains on though all have trained")
                self._voting[process] = message.votes
                self._residuals[process.name] = stats.residual
                self._losses.setdefault((process.name, lineage, stats.round), set()).add((stats.weight, stats.signal))
            case Withdraw():
                process.offer = None
            case Propose(proposal=proposal):
                if proposal.key not in self._proposals:
                    self._proposals[proposal.key] = proposal
                    self._proposed(process, proposal)
            case Hello(roster=roster):
                for info in roster:
                    if self._plans[info.name].session != info.session:
                        raise Violation("Isolation", f"{process.name} takes {info.name} for a peer of {info.session}")
            case Ready():
                key = message.lineage, message.round, message.attempt
                self._assembled[message.lineage, message.round, message.digest] = key
            case Accept(proposal=proposal, digest=digest):
                # A leader tells nobody else that it is ready itself.
                self._assembled.setdefault((proposal.lineage, proposal.round, digest), proposal.key)
            case Accepted():
                self._accepts.setdefault(process.name, set()).add(message.signature)
                self._holds(process, message)

    def contributes(self, process: Process, header: StreamHeader) -> Proposal | None:
        """A process takes part in an exchange; the proposal, the first time."""
        key = header.lineage, header.round, header.attempt
        if (key, process.name) not in self._contributions:
            self._contributions[key, process.name] = process.offered
            return self._proposals.get(key)
        return None

    def _holds(self, process: Process, message: Accepted) -> None:
        key = message.lineage, message.round, message.attempt
        digests = [
            digest
            for (lineage, round_, digest), assembled in self._assembled.items()
            if assembled == key and (lineage, round_) == key[:2]
        ]
        missing = [error for digest in digests if (error := self._unserved(process, message, digest))]
        # A member that lies can give each of the others another model, of which each has one.
        if missing and (not self._lying or len(missing) == len(digests)):
            raise Violation("Durability", f"{process.name} accepts what it does not hold: {missing[0]}")

    def _unserved(self, process: Process, message: Accepted, digest: str) -> str:
        """Why a process does not serve a model; empty if it does."""
        try:
            process.transport.handler.serve(FetchRequest(process.plan.session, message.attempt.leader, digest))
        except ExchangeError as error:
            return str(error)
        return ""

    def warned(self, process: Process, text: str, error: BaseException | None) -> None:
        """A session warns its user."""
        if error is not None:
            raise Violation("Error", f"{process.name}: {text} {type(error).__name__}: {error}") from error
        if "aborted: " in text:
            self.aborted += 1
        for name in REMOVED.findall(text):
            self.proven.add(name)
            if name not in self._lying:
                raise Violation("Honest count", f"{name} never lied, and is told: {text}")
        if self._lying:
            return
        accused = {*ACCUSED.findall(text), *UNMEASURED.findall(text)}
        # With more, the median of three may be a lie; who lost its steps to NaN has moved by next to nothing.
        if len(self._liars) < 2 and not self._schedule.poisoned:
            accused.update(SCREENED.findall(text))
        for name in sorted(accused):
            if name not in self._liars:
                raise Violation("Honest count", f"{name} never lied, and is told: {text}")

    def _proposed(self, leader: Process, proposal: Proposal) -> None:
        """A leader proposes a group."""
        for entry in proposal.entries:
            plan = self._plans[entry.peer]
            if plan.session != leader.plan.session:
                raise Violation("Isolation", f"{leader.name} takes {entry.peer} of another session into its group")
        commit = leader.session.commit
        if not leader.dishonest and not self._lying:  # what it proposes for others is checked by them
            self._weighs({entry.peer: entry.weight for entry in proposal.entries if entry.weight})
            self._sizes(leader, proposal)
            if commit:
                self._paces(leader, commit, proposal)
        if commit and proposal.lineage != commit.lineage:
            self._forks(leader, commit, proposal)
        if proposal.closing:
            self._closes(leader)
        if proposal.done:
            self._stops(leader)

    def _weighs(self, weights: dict[PeerId, int]) -> None:
        """Each contributor counts with the weight that it joined with, and with no more share than it may have."""
        handed_round = [*weights.values()] == [1]
        expected = self._limited({name: self._plans[name].weight for name in weights})
        if weights != expected and not handed_round:
            raise Violation("Honest count", f"contributors count {weights}, and should count {expected}")

    def _limited(self, weights: dict[PeerId, int]) -> dict[PeerId, int]:
        """Where a peer may have half of the weight at most, it counts as much as all others do together."""
        if self._schedule.largest_share == 1.0:
            return weights
        total = sum(weights.values())
        return {name: min(weight, total - weight) or weight for name, weight in weights.items()}

    def _sizes(self, leader: Process, proposal: Proposal) -> None:
        trained = (entry for entry in proposal.entries if entry.weight and entry.status not in CHECKIN_MODES)
        training = [entry for entry in trained if entry.norm]
        for entry in training:
            # Rounding alone has moved those without steps.
            compared = [other.norm for other in training if other.steps or other is entry]
            if len(compared) >= FEWEST and entry.norm > ABSURD * median(compared):
                text = f"{leader.name} takes {entry.peer} in, which says that it has moved by {entry.norm:g}"
                raise Violation("Honest count", text)

    def _paces(self, leader: Process, commit: Commit, proposal: Proposal) -> None:
        losses, weights = {}, {}
        for name in proposal.group:
            said = self._losses.get((name, commit.lineage, proposal.round), set())
            if len(said) != 1:
                return  # it offered twice, and either offer may have arrived
            ((claimed, loss),) = said
            if loss is not None:
                losses[name], weights[name] = loss, min(claimed, self._plans[name].weight)
        policy = PLUGINS.sync_policy(leader.settings.policy)(leader.settings.sync_interval)
        expected = policy.next(commit.sync, [(weight, losses[name]) for name, weight in self._limited(weights).items()])
        if proposal.sync != expected:
            raise Violation("Honest count", f"{leader.name} makes it {proposal.sync}; the losses say {expected}")

    def _forks(self, leader: Process, commit: Commit, proposal: Proposal) -> None:
        self.forks.add(proposal.lineage)
        voting = {other.name for other in self._reached(leader) if not other.lies and self._votes(other, commit)}
        if is_quorum(commit.members, voting, self._schedule.tolerated):
            raise Violation("Agreement", f"{leader.name} forks though it reaches {sorted(voting)}, a majority")
        least = leader.settings.min_peers
        whole = is_quorum(commit.members, proposal.group, self._schedule.tolerated)
        if 2 * least > len(commit.members) and not whole:
            raise Violation("Agreement", f"{leader.name} forks against min_peers={least}")

    def _votes(self, process: Process, commit: Commit) -> bool:
        """Whether a process goes on from ``commit`` and may vote in the next round."""
        return process.session.commit == commit and self._voting.get(process, True)

    def _closes(self, leader: Process) -> None:
        left_out = _left_out(leader)
        for other in self._reached(leader):
            if other is leader or other.lies or other.name in left_out:
                continue
            if other.session.commit is not None and not other.finished:
                raise Violation("Progress", f"{leader.name} closes the session while {other.name} still trains")

    def _stops(self, leader: Process) -> None:
        left_out = _left_out(leader)
        for other in self._reached(leader):
            if other.dishonest and other.name in left_out:
                continue  # its steps count no more, and nobody waits for it
            if other.session.commit is not None and not other.trained and not other.hurried:
                raise Violation("Progress", f"{leader.name} stops all while {other.name} still trains its own epochs")

    # Weights ---------------------------------------------------------------------------------------------------------

    def loaded(self, process: Process, *, replaced: bool) -> None:
        """The weights are a committed model and whole steps on top; none is in there twice, and none is lost."""
        model = process.model
        if not np.isfinite(model.values).all():
            if replaced or not process.poisoned:
                raise Violation("Honest count", f"{process.name} loads a model that is not finite")
            return  # the next capture shows it
        found = self._found(process)
        if found is None and self._lying:
            return  # a lying member may have merged anything in its slice, also numbers that no step changes
        if found is None:
            raise Violation("Atomicity", f"the weights of {process.name} are no committed model with steps of its own")
        merged, on_top = found
        self.overlapped += bool(on_top)
        lost = model.own & ~on_top & ~merged.steps
        if lost and not process.finished:  # who has finished still offers what its training ended with
            unexplained = lost & ~self._given_up(process, merged, replaced=replaced)
            if unexplained:
                text = f"{process.name} loses steps {bits(unexplained)}, which {merged.commit.digest} lacks"
                raise Violation("Atomicity", text)
            model.own &= ~lost
        self._basis[process], process.poisoned = merged, False

    def _given_up(self, process: Process, merged: Merged, *, replaced: bool) -> Steps:
        """Steps that a process may give up for a committed model."""
        own, commit, before = process.model.own, merged.commit, self._basis.get(process)
        applied = process.session.commit
        if applied and applied.digest == commit.digest:
            commit = applied  # of two records with the same model: a fork keeps that of its parent
        left_out = process.name in commit.group and process.name not in commit.contributors and commit.contributors
        if left_out or (replaced and (before is None or commit.closing or process.poisoned)):
            return own
        steps = 0
        other = before is not None and self._schedule.excess and not self._builds_on(commit, before.commit)
        if before and (before.commit.lineage != commit.lineage or other):
            steps |= before.steps  # with the rounds of its lineage, or with one of two results of a round
            if replaced and own & ~steps & self._sent_to(process, commit):
                return own  # it returns to a lineage that may have a part of them
        offered = process.offer.stats.round if process.offer else 0
        if commit.round > offered and self._sent(process, offered):
            steps |= process.offered.own  # it has not seen whether that round was committed
        return steps

    def _builds_on(self, commit: Commit, before: Commit) -> bool:
        """Whether a record is another one, or follows it; where voters sign twice, a round has two results."""
        later: Commit | None = commit
        while later and later.round > before.round:
            later = self._records.get(later.previous)
        return later == before

    def _sent(self, process: Process, round_: int) -> bool:
        """Whether a process has sent its contribution to a round."""
        return any(name == process.name and key[1] == round_ for key, name in self._contributions)

    def _sent_to(self, process: Process, commit: Commit) -> Steps:
        """The steps that a process has sent to rounds of a lineage up to a commit."""
        steps = 0
        for ((lineage, round_, _), name), sent in self._contributions.items():
            if name == process.name and lineage == commit.lineage and round_ <= commit.round:
                steps |= sent.own
        return steps

    def _found(self, process: Process) -> tuple[Merged, Steps] | None:
        """The committed model that the weights are based on, and the steps on top of it.

        Of several it is that of the last commit of the process: where a peer goes on alone, the weights are also the
        model before, with all of its steps on top.
        """
        commit = process.session.commit
        last = self._merged.get((commit.lineage, commit.round, commit.digest)) if commit else None
        for merged in (*([last] if last else ()), *reversed(self._merged.values())):
            on_top = steps_between(process.model.values, merged.values)
            if on_top is not None and not on_top & ~process.model.own and not on_top & merged.steps:
                return merged, on_top
        return None

    def ended(self, process: Process) -> None:
        """A process is gone."""
        commit = process.session.commit
        if commit and commit.closing and process.outcome == "closed":
            closing = self._merged[commit.lineage, commit.round, commit.digest].values
            if not np.array_equal(process.model.values, closing):
                raise Violation("Identity at the end", f"{process.name} does not end with {commit.digest}")


def _left_out(process: Process) -> set[PeerId]:
    """The peers that a process leaves out of rounds, because attempts have failed with them."""
    return {peer["name"] for peer in process.session.status()["peers"] if peer["left_out"]}


def bits(steps: Steps) -> list[int]:
    """The numbers of the steps in a set."""
    return [number for number in range(steps.bit_length()) if steps >> number & 1]


def _holds(process: Process, commit: Commit) -> bool:
    """Whether a process has the model of a commit, with its outer state."""
    engine = process.session._engine
    held = engine._rounds.models.committed(commit.digest) if engine else None
    return held is not None and held.digest() == commit.digest

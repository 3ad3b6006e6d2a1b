"""A member that lies: it runs the real software twice, and what both copies say is changed on its way out.

Two copies with one name and one key that hear different peers contradict one another without any attack being written
down: they propose two groups, vote twice, and forget (S. Bano et al., "Twins: BFT Systems Made Robust", 2022). Besides,
each liar has habits: it withholds kinds of messages, repeats old ones, and changes others, and signs what it can.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from swarm.certification.statements import (
    accept_statement,
    offer_statement,
    prepare_statement,
    promise_statement,
    ready_statement,
    record_hash,
)
from swarm.messages import (
    Abort,
    Accept,
    Accepted,
    Decide,
    Evidence,
    Failed,
    Farewell,
    Message,
    Nack,
    Offer,
    Prepare,
    Promise,
    Proposal,
    Propose,
    Readiness,
    Ready,
    Withdraw,
)
from swarm.records import Attempt, Commit, Proof, QuorumCertificate, RecordKind, Signature

if TYPE_CHECKING:
    from swarm.certification.keys import Signer
    from swarm.messages import Envelope
    from swarm.records import PeerId
    from swarm.transport.base import Frame

KINDS = (Offer, Propose, Prepare, Promise, Ready, Failed, Abort, Accept, Accepted, Nack, Decide)
LARGEST = 2**31 - 1
REMEMBERED = 24
"""Messages that may be repeated."""
DIGEST = "f" * 32


@dataclass(frozen=True, slots=True)
class Habits:
    """What one liar does again and again, as probabilities."""

    withholds: dict[type, float]
    repeats: float
    changes: float
    blames: float
    forges: float
    """Decisions that nobody has made."""
    spoils: float
    """Frames of weights that it changes."""
    stalls: float
    """Streams that it stops."""
    leads_astray: float
    """Proposals of its own that are not what the offers give, but the same to all."""
    refuses: float
    """Messages of leaders that it answers as if it had promised more."""


def draw_habits(rng: random.Random) -> Habits:
    """Those of one liar: some are quiet but for their two copies."""
    busy = rng.random() < 0.8
    return Habits(
        withholds={kind: rng.choice((0.3, 1.0)) for kind in KINDS if busy and rng.random() < 0.15},
        repeats=rng.choice((0.0, 0.05, 0.2)) if busy else 0.0,
        changes=rng.choice((0.0, 0.05, 0.2, 0.6)) if busy else 0.0,
        blames=rng.choice((0.0, 0.05, 0.3)) if busy else 0.0,
        forges=rng.choice((0.0, 0.02, 0.1)) if busy else 0.0,
        spoils=rng.choice((0.0, 0.0, 0.02, 0.2)) if busy else 0.0,
        stalls=rng.choice((0.0, 0.0, 0.01, 0.1)) if busy else 0.0,
        leads_astray=rng.choice((0.0, 0.3, 1.0)),
        refuses=rng.choice((0.0, 0.0, 0.5)),
    )


class Liar:
    """What one copy of a lying member lets out."""

    def __init__(self, name: PeerId, session: str, signer: Signer, habits: Habits, rng: random.Random) -> None:
        self._name = name
        self._session = session
        self._signer = signer
        self._habits = habits
        self._rng = rng
        self._said: deque[Message] = deque(maxlen=REMEMBERED)
        self._proposal: Proposal | None = None
        """The last one that this copy has told of."""

    def says(self, envelope: Envelope, others: Sequence[PeerId], commit: Commit | None) -> list[Envelope]:
        """What really goes out to one peer in place of ``envelope``; ``commit`` is the last one of this copy."""
        rng, habits, message = self._rng, self._habits, envelope.message
        if not isinstance(message, KINDS):
            return [envelope]
        if isinstance(message, Propose | Accept):
            self._proposal = message.proposal
        said: list[Message] = []
        if rng.random() >= habits.withholds.get(type(message), 0.0):
            said.append(self._changed(message, others) if rng.random() < habits.changes else message)
        if self._said and rng.random() < habits.repeats:
            said.append(rng.choice(self._said))
        if rng.random() < habits.blames:
            said.append(self._blame(message, others))
        if isinstance(message, Promise | Ready | Accepted) and rng.random() < habits.refuses:
            higher = Attempt(message.attempt.counter + 1, self._name)
            said.append(Nack(message.lineage, message.round, message.attempt, higher))
        if commit and rng.random() < habits.forges:
            said.append(self._decide(Decide(commit), others))
        self._said.append(message)
        return [replace(envelope, message=each) for each in said]

    def sends(self, frame: Frame) -> Frame | None:
        """What really goes out for a frame of weights; None: nothing more of this stream."""
        if self._rng.random() < self._habits.stalls:
            return None
        if self._rng.random() >= self._habits.spoils or len(frame) < 2 or not memoryview(frame[1]):
            return frame
        spoilt = bytearray(memoryview(frame[1]).cast("B"))
        place = self._rng.randrange(len(spoilt))
        spoilt[place] ^= 1 << self._rng.randrange(8)
        return (frame[0], bytes(spoilt), *frame[2:])

    # Changes ---------------------------------------------------------------------------------------------------------

    def _changed(self, message: Message, others: Sequence[PeerId]) -> Message:
        changes: dict[type, Callable[[Any, Sequence[PeerId]], Message]] = {
            Offer: self._offer,
            Propose: self._propose,
            Prepare: self._prepare,
            Promise: self._promise,
            Ready: self._ready,
            Failed: self._failed,
            Abort: self._abort,
            Accept: self._accept,
            Accepted: self._accepted,
            Nack: self._nack,
            Decide: self._decide,
        }
        return changes[type(message)](message, others)

    def _offer(self, message: Offer, others: Sequence[PeerId]) -> Message:
        rng, stats = self._rng, message.stats
        kind = rng.randrange(8)
        if kind == 0:
            return Withdraw(message.lineage, stats.round)
        changed = [
            replace(stats, weight=rng.choice((-2, 100, 2**62))),
            replace(stats, delta_norm=stats.delta_norm * rng.choice((0.0, 1e-6, 1e6))),
            replace(stats, signal=rng.choice((-1e100, 0.0, 1e100, float("inf")))),
            replace(stats, steps=rng.choice((0, 2**53))),
            replace(stats, round=stats.round + rng.choice((-1, 1, 1000, LARGEST))),
            replace(stats, peer=rng.choice(others) if others else stats.peer),
            stats,
        ][kind - 1]
        gone = tuple(sorted(others)) if kind == 7 else message.gone
        statement = offer_statement(self._session, message.lineage, message.previous, changed, gone, message.key)
        return replace(message, stats=changed, gone=gone, signature=self._signer.sign(statement))

    def _proposal_of(self, proposal: Proposal, others: Sequence[PeerId]) -> Proposal:
        rng = self._rng
        entries, group = list(proposal.entries), proposal.group
        victim = rng.randrange(len(group))
        less = tuple(entry for index, entry in enumerate(entries) if index != victim)
        kept = tuple(offer for index, offer in enumerate(proposal.offers) if index != victim)
        entries[victim] = replace(entries[victim], weight=rng.choice((0, 1, 100)))
        members = tuple(member for member in proposal.members if member != rng.choice(proposal.members))
        interval = rng.choice((1, 2 * proposal.sync.interval, LARGEST))
        return rng.choice(
            (
                replace(proposal, entries=tuple(entries)),
                replace(proposal, entries=less, offers=kept) if less else proposal,
                replace(proposal, members=members, keys=proposal.keys[: len(members)]),
                replace(proposal, closing=not proposal.closing),
                replace(proposal, done=not proposal.done),
                replace(proposal, sync=replace(proposal.sync, interval=interval)),
                replace(proposal, promises=()),
                replace(proposal, voters=proposal.voters[:1]),
                replace(proposal, keys=tuple(reversed(proposal.keys))),
                replace(proposal, previous="0" * 64),
                replace(proposal, attempt=Attempt(proposal.attempt.counter + 2000, self._name)),
                replace(proposal, lineage="0" * 16),
                replace(proposal, round=proposal.round + 1),
            )
        )

    def proposes(self, proposal: Proposal) -> Proposal:
        """What this copy proposes as a leader, to all alike, in place of what the offers give."""
        rng, commit = random.Random(f"{self._name}/{proposal.key}"), proposal.commit(DIGEST)
        if rng.random() >= self._habits.leads_astray or commit.kind is RecordKind.FOUNDING:
            return proposal
        others = [member for member in proposal.members if member not in proposal.group]
        entries = tuple(
            replace(entry, weight=100 if entry.peer == self._name else entry.weight) for entry in proposal.entries
        )
        without = rng.choice(others) if others else ""
        kept = [(m, k) for m, k in zip(proposal.members, proposal.keys, strict=True) if m != without]
        return rng.choice(
            (
                replace(proposal, closing=True),
                replace(proposal, sync=replace(proposal.sync, interval=2**20)),
                replace(proposal, entries=entries),
                replace(proposal, members=tuple(m for m, _ in kept), keys=tuple(k for _, k in kept)),
            )
        )

    def _propose(self, message: Propose, others: Sequence[PeerId]) -> Message:
        return Propose(self._proposal_of(message.proposal, others))

    def _prepare(self, message: Prepare, others: Sequence[PeerId]) -> Message:
        counter = self._rng.choice((message.attempt.counter + 1, message.attempt.counter + 1000, LARGEST))
        leader = self._rng.choice((self._name, *others))
        return self._asks(message.lineage, message.round, Attempt(counter, leader))

    def _asks(self, lineage: str, round_: int, attempt: Attempt) -> Prepare:
        statement = prepare_statement(self._session, lineage, round_, attempt)
        return Prepare(lineage, round_, attempt, self._signer.sign(statement))

    def _promise(self, message: Promise, others: Sequence[PeerId]) -> Message:
        """It hides what it has accepted, tells of it in a later attempt, or of what was never accepted."""
        key, proposal = (message.lineage, message.round, message.attempt), self._proposal
        truly = message.accepted
        if truly and truly.attempt.counter + 1 < message.attempt.counter and self._rng.random() < 0.5:
            later = replace(
                truly, attempt=Attempt(message.attempt.counter - 1, self._rng.choice((self._name, *others)))
            )
            record = record_hash(later.commit(message.digest))
            statement = promise_statement(self._session, *key, later.attempt, record)
            return replace(message, accepted=later, signature=self._signer.sign(statement))
        false = proposal is not None and proposal.key[:2] == key[:2] and self._rng.random() < 0.5
        if proposal is None or not false:
            statement = promise_statement(self._session, *key, None, "")
            return replace(message, accepted=None, digest="", ready=None, signature=self._signer.sign(statement))
        accepted = self._proposal_of(proposal, others)
        record = record_hash(accepted.commit(DIGEST))
        mine = self._signer.sign(ready_statement(self._session, *key, record))
        ready = Readiness(accepted.attempt, tuple(Signature(peer, mine) for peer in accepted.group))
        statement = promise_statement(self._session, *key, accepted.attempt, record)
        signature = self._signer.sign(statement)
        return replace(message, accepted=accepted, digest=DIGEST, ready=ready, signature=signature)

    def _ready(self, message: Ready, others: Sequence[PeerId]) -> Message:
        digest = self._rng.choice((DIGEST, message.digest))
        key = message.lineage, message.round, message.attempt
        proposal = self._proposal
        record = record_hash(proposal.commit(digest)) if proposal and proposal.key == key else "0" * 64
        signature = self._signer.sign(ready_statement(self._session, *key, record))
        return replace(message, digest=digest, norms=message.norms[1:], signature=signature)

    def _failed(self, message: Failed, others: Sequence[PeerId]) -> Message:
        return self._blame(message, others)

    def _abort(self, message: Abort, others: Sequence[PeerId]) -> Message:
        leader = self._rng.choice((*others, self._name))
        return replace(message, attempt=replace(message.attempt, leader=leader))

    def _accept(self, message: Accept, others: Sequence[PeerId]) -> Message:
        return self._rng.choice(
            (
                replace(message, proposal=self._proposal_of(message.proposal, others)),
                replace(message, digest=DIGEST),
                replace(message, ready=None),
                replace(message, proposal=replace(message.proposal, promises=())),
            )
        )

    def _accepted(self, message: Accepted, others: Sequence[PeerId]) -> Message:
        key = message.lineage, message.round, message.attempt
        return Accepted(*key, self._signer.sign(accept_statement(self._session, *key, "0" * 64)))

    def _nack(self, message: Nack, others: Sequence[PeerId]) -> Message:
        return replace(message, promised=Attempt(self._rng.choice((LARGEST, 0)), self._rng.choice((*others, "p00"))))

    def _decide(self, message: Decide, others: Sequence[PeerId]) -> Message:
        rng, commit = self._rng, message.commit
        changed: Commit = rng.choice(
            (
                replace(commit, digest=DIGEST),
                replace(commit, closing=True),
                replace(commit, round=commit.round + rng.choice((1, 1000))),
                replace(commit, round=commit.round + 1, previous=record_hash(commit)),
                replace(commit, round=commit.round + 1, previous=record_hash(commit), closing=True),
                replace(commit, members=(self._name,), keys=(self._signer.key,), group=(self._name,), weights=(1,)),
                replace(commit, lineage="0" * 16),
                commit,
            )
        )
        attempt = commit.certificate.attempt if commit.certificate else Attempt(0, self._name)
        statement = accept_statement(self._session, changed.lineage, changed.round, attempt, record_hash(changed))
        mine = self._signer.sign(statement)
        forged = QuorumCertificate(attempt, tuple(Signature(peer, mine) for peer in commit.members))
        return Decide(replace(changed, certificate=rng.choice((forged, commit.certificate, None))))

    def _blame(self, message: Message, others: Sequence[PeerId]) -> Message:
        rng, proposal = self._rng, self._proposal
        if proposal is None or not others:
            return message
        blamed = rng.choice(others)
        key = proposal.key
        false = Proof(
            peer=blamed,
            key=self._signer.key,
            lineage=proposal.lineage,
            round=proposal.round,
            attempt=proposal.attempt,
            record="0" * 64,
            signature=self._signer.sign(b"0"),
            other_attempt=proposal.attempt,
            other_record="1" * 64,
            other_accepted=None,
            other_signature=self._signer.sign(b"1"),
        )
        return rng.choice(
            (
                Failed(*key, blamed, f"{blamed} is at fault"),
                Failed(*key, proposal.attempt.leader, "no", rejects=True),
                Evidence(false),
                Farewell(proposal.lineage, proposal.round),
                Abort(*key, "no"),
            )
        )

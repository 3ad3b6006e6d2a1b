"""Proposals that are not what the offers give: an attack for each field. The bad member leads and takes part."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks.hostile.attack import Attacks
from benchmarks.hostile.liar import LIAR, Habit, Liar
from swarm.certification.keys import ProcessKey
from swarm.certification.statements import record_hash
from swarm.messages import Accept, Accepted, Decide
from swarm.records import Origin, Proof, QuorumCertificate, RecordKind, Refusal, Signature, SyncState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swarm.consensus.forming import Table
    from swarm.messages import Envelope, Message, Proposal
    from swarm.records import Commit, PeerId

ATTACKS = Attacks()
INTERVAL = 2**20
LINEAGE = "f" * 16


class Proposer(Habit):
    """Changes what it proposes as a leader."""

    def __init__(self, liar: Liar, change: Callable[[Liar, Proposal], Proposal]) -> None:
        super().__init__(liar)
        self._change = change

    def proposes(self, proposal: Proposal) -> Proposal:
        return self._change(self.liar, proposal)


def _proposal(
    name: str, does: str, *checks: str, **more: Any
) -> Callable[[Callable[[Liar, Proposal], Proposal]], Callable[[Liar, Proposal], Proposal]]:
    def register(change: Callable[[Liar, Proposal], Proposal]) -> Callable[[Liar, Proposal], Proposal]:
        given = checks or ("proposals",)
        ATTACKS.add(f"proposal: {name}", f"proposes {does}", *given, **more)(lambda liar: Proposer(liar, change))
        return change

    return register


def _fields(name: str, does: str, *checks: str, **fields: Any) -> None:
    _proposal(name, does, *checks)(lambda _, proposal: replace(proposal, **fields))


_fields("interval", f"an interval of {INTERVAL} batches", sync=SyncState(INTERVAL))
_fields("closing", "to close the session while others train", closing=True)
_fields("done", "that nobody trains on", done=True)
_fields("rule", "another merge rule", rule="coordmedian")
_fields("settings", "other settings than were agreed on", settings="e" * 64)
_fields("codec", "a codec that loses precision", codec="int8")
_fields("previous", "a record that does not follow the last one", previous="e" * 64)
_fields("kind", "a restart where nobody has restarted", kind=RecordKind.RESTART)
_fields("voters", "that it alone decides", "proposals", "certificates", voters=(LIAR,))


@_proposal("own weight", "a hundred times its weight")
def _own_weight(_: Liar, proposal: Proposal) -> Proposal:
    entries = tuple(replace(each, weight=100 if each.peer == LIAR else each.weight) for each in proposal.entries)
    return replace(proposal, entries=entries)


@_proposal("no weight for others", "that only its contribution counts")
def _no_weight(_: Liar, proposal: Proposal) -> Proposal:
    entries = tuple(replace(each, weight=int(each.peer == LIAR)) for each in proposal.entries)
    return replace(proposal, entries=entries)


@_proposal("without a member", "to remove an honest peer", sizes=(3, 4, 5))
def _without(liar: Liar, proposal: Proposal) -> Proposal:
    kept = [(member, key) for member, key in zip(proposal.members, proposal.keys, strict=True) if member != liar.victim]
    return replace(
        proposal,
        entries=tuple(each for each in proposal.entries if each.peer != liar.victim),
        offers=tuple(each for each in proposal.offers if each.stats.peer != liar.victim),
        members=tuple(member for member, _ in kept),
        keys=tuple(key for _, key in kept),
    )


@_proposal("another's key", "that an honest peer has a key of its own making from now on", "proposals", "keys")
def _key(liar: Liar, proposal: Proposal) -> Proposal:
    other = ProcessKey().key
    pairs = zip(proposal.members, proposal.keys, strict=True)
    return replace(proposal, keys=tuple(other if member == liar.victim else key for member, key in pairs))


@_proposal("refusals", "to leave out the contributions of all others, by its own judgement")
def _refusals(_: Liar, proposal: Proposal) -> Proposal:
    others = [entry.peer for entry in proposal.entries if entry.peer != LIAR]
    entries = tuple(replace(each, weight=int(each.peer == LIAR)) for each in proposal.entries)
    return replace(proposal, entries=entries, refused=tuple(Refusal(peer, "it is bad") for peer in others))


@_proposal("another's offer", "an offer of an honest peer with other statistics")
def _offer(liar: Liar, proposal: Proposal) -> Proposal:
    offers = tuple(
        replace(each, stats=replace(each.stats, weight=0)) if each.stats.peer == liar.victim else each
        for each in proposal.offers
    )
    entries = tuple(
        replace(each, weight=0, norm=0.0) if each.peer == liar.victim else each for each in proposal.entries
    )
    return replace(proposal, offers=offers, entries=entries)


@_proposal("origins", "that the lineage has begun elsewhere", "proposals", "places")
def _origins(_: Liar, proposal: Proposal) -> Proposal:
    return replace(proposal, origins=(Origin(LINEAGE, 0, majority=True), *proposal.origins))


@_proposal("proof", "to remove an honest peer, with evidence that it has signed itself", sizes=(3, 4, 5))
def _proof(liar: Liar, proposal: Proposal) -> Proposal:
    forged = liar.signer.sign(b"")
    proof = Proof(
        peer=liar.victim,
        key=liar.commit.key_of(liar.victim),
        lineage=proposal.lineage,
        round=proposal.round,
        attempt=proposal.attempt,
        record="0" * 64,
        signature=forged,
        other_attempt=proposal.attempt,
        other_record="1" * 64,
        other_accepted=None,
        other_signature=forged,
    )
    return replace(_without(liar, proposal), proofs=(proof,))


@_proposal("a lineage", "to begin a lineage though a majority is here", "proposals", "own majority")
def _lineage(_: Liar, proposal: Proposal) -> Proposal:
    return replace(
        proposal,
        lineage=LINEAGE,
        kind=RecordKind.RESTART,
        origins=(*proposal.origins, Origin(LINEAGE, proposal.round, majority=True)),
        voters=proposal.group,
        members=proposal.group,
    )


@ATTACKS.add(
    "proposal: without promises",
    "decides with some, hides that from the others, and proposes a second group without asking what was accepted",
    "promises",
    sizes=(3, 4, 5),
)
class SecondGroup(Habit):
    """As a leader, decides a round twice: the second time without the victim, which gets the first record alone."""

    asks = False

    def __init__(self, liar: Liar) -> None:
        super().__init__(liar)
        self._first: Commit | None = None
        """What it has decided first in the last round that it led."""

    def leads_on(self, decision: Commit) -> bool:
        again = self._first is not None and self._first.round == decision.round
        if not again:
            self._first = decision
        return not again

    def sees(self, table: Table) -> Table:
        if self._first is None or table.commit.round >= self._first.round:
            return table
        offers = {peer: offer for peer, offer in table.offers.items() if peer != self.liar.victim}
        return replace(table, offers=offers, live=table.live - {self.liar.victim})

    def says(self, to: PeerId, message: Any) -> Iterator[Message]:
        first = self._first
        if isinstance(message, Accept):
            # Fewer would be no quorum; more would know of the first decision.
            others = self.liar.others
            if message.proposal.attempt.counter > 0 or to in others[: (len(others) + 1) // 2]:
                yield message
        elif isinstance(message, Decide) and first is not None and message.commit.round == first.round:
            if record_hash(message.commit) != record_hash(first):
                yield Decide(first) if to == self.liar.victim else message
        else:
            yield message


@ATTACKS.add("two records", "leads, and decides two records in one attempt", "readiness", "evidence", sizes=(3, 4, 5))
class TwoRecords(Habit):
    """As a leader, shows one peer another record than the others, and tells it of no other decision."""

    def __init__(self, liar: Liar) -> None:
        super().__init__(liar)
        self._other: Accept | None = None

    def says(self, to: PeerId, message: Any) -> Iterator[Message]:
        if isinstance(message, Accept) and to == self.liar.victim:
            message = replace(message, proposal=replace(message.proposal, sync=SyncState(INTERVAL)))
            self._other = message
        other = self._other.proposal if self._other else None
        if not (
            isinstance(message, Decide) and to == self.liar.victim and other and message.commit.round == other.round
        ):
            yield message

    def hears(self, envelope: Envelope) -> None:
        liar, other, message = self.liar, self._other, envelope.message
        if other is None or not isinstance(message, Accepted) or envelope.sender != liar.victim:
            return
        record = other.proposal.commit(other.digest)
        attempt = other.proposal.attempt
        votes = (liar.vote(record, attempt), Signature(liar.victim, message.signature))
        liar.tell((liar.victim,), Decide(replace(record, certificate=QuorumCertificate(attempt, votes))))

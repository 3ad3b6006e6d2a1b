"""Which records are true: each is certified by those who may decide it, and follows the one before it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from swarm.certification.keys import Signer
from swarm.certification.statements import accept_statement, promise_statement, record_hash
from swarm.quorums import certified, is_quorum
from swarm.records import MAX_ORIGINS, Attempt, Commit, Credential, Origin, PeerId, Proof, RecordKind


@dataclass(frozen=True, kw_only=True)
class Verifier:
    """What is needed to tell a true record.

    Args:
        session: the name of the session.
        signer: checks signatures.
        vouch: why a credential is not that of its peer; empty if it is.
        min_peers: the fewest peers of a group.
        liars: how many voters may sign two results without harm.
    """

    session: str
    signer: Signer
    vouch: Callable[[Credential], str] = lambda _: ""
    min_peers: int = 1
    liars: int = 0

    def doubt(self, record: Commit, before: Commit | None) -> str:
        """Why ``record`` is not the true successor of ``before``; empty if it is.

        Args:
            record: the record, with its certificate.
            before: the record that it follows, which is true; None for a founding record.
        """
        return (
            _misplaced(record, before, self.min_peers, self.liars)
            or self._unknown_keys(record, before)
            or self._uncertified(record, before)
        )

    def voters(self, record: Commit, before: Commit | None) -> dict[PeerId, str]:
        """Who decides ``record``, with their keys: those who are not proven to have signed two results."""
        base = before if record.kind is RecordKind.ROUND and before else record
        removed = {proof.peer for proof in record.proofs} if base is before else set()
        return {peer: key for peer, key in zip(base.members, base.keys, strict=True) if peer not in removed}

    def _uncertified(self, record: Commit, before: Commit | None) -> str:
        certificate, keys = record.certificate, self.voters(record, before)
        if certificate is None:
            return f"the record of round {record.round} has no certificate"
        statement = accept_statement(
            self.session, record.lineage, record.round, certificate.attempt, record_hash(record)
        )
        for each in certificate.signatures:
            key = keys.get(each.peer)
            if not key or not self.signer.verify(key, statement, each.value):
                return f"the record of round {record.round} has a signature of {each.peer} that does not count"
        signed = {each.peer for each in certificate.signatures}
        parents = before.members if before and record.kind is RecordKind.RESTART else ()
        if decided(record.kind, keys, signed, parents, self.liars):
            return ""
        return (
            f"the record of round {record.round} is signed by {', '.join(sorted(signed)) or 'nobody'},"
            f" which is no quorum of {', '.join(sorted({*keys, *parents}))}"
        )

    def _unknown_keys(self, record: Commit, before: Commit | None) -> str:
        known = dict(zip(before.members, before.keys, strict=True)) if before else {}
        credentials = {each.peer: each for each in record.credentials}
        for peer, key in zip(record.members, record.keys, strict=True):
            if known.get(peer) == key:
                continue
            credential = credentials.get(peer)
            if credential is None or credential.key != key:
                return f"the record of round {record.round} gives {peer} a key without a credential"
            reason = self.vouch(credential)
            if reason:
                return f"the record of round {record.round} gives {peer} a key that is not its own: {reason}"
        for proof in record.proofs:
            if known.get(proof.peer) != proof.key or not self.proven(proof):
                return f"the record of round {record.round} removes {proof.peer} without proof"
        return ""

    def proven(self, proof: Proof) -> bool:
        """Whether the two statements of ``proof`` are signed with its key, and no honest voter signs both."""
        one = accept_statement(self.session, proof.lineage, proof.round, proof.attempt, proof.record)
        if proof.attempt == proof.other_attempt:
            other = accept_statement(self.session, proof.lineage, proof.round, proof.attempt, proof.other_record)
            contradict = proof.record != proof.other_record
        else:
            other = promise_statement(
                self.session,
                proof.lineage,
                proof.round,
                proof.other_attempt,
                proof.other_accepted,
                proof.other_record,
            )
            hidden = proof.other_accepted is None or proof.other_accepted < proof.attempt
            contradict = proof.attempt < proof.other_attempt and hidden
        return (
            contradict
            and self.signer.verify(proof.key, one, proof.signature)
            and self.signer.verify(proof.key, other, proof.other_signature)
        )


def decided(
    kind: RecordKind, voters: Iterable[PeerId], signed: Collection[PeerId], parents: Collection[PeerId], liars: int
) -> bool:
    """Whether those who have ``signed`` decide a record.

    Args:
        kind: of the record.
        voters: who decides it.
        signed: those of them who have accepted it.
        parents: the membership of the record before it. A restart says that it has the majority of these: that is so
            if they sign, not if others name them.
        liars: how many may sign two results.
    """
    if kind is RecordKind.ROUND:
        return is_quorum(voters, signed, liars)
    return is_quorum(voters, signed) and (kind is not RecordKind.RESTART or is_quorum(parents, signed, liars))


def conflict(one: Commit, other: Commit, before: Commit | None) -> tuple[Proof, ...]:
    """Proofs from two certified records of one round of one lineage: who has signed what no honest voter signs.

    Args:
        one: a record.
        other: another record of the same lineage and round.
        before: the record that both follow; None for founding records.
    """
    if one.certificate is None or other.certificate is None or one.certificate.attempt > other.certificate.attempt:
        one, other = other, one
    first, second = one.certificate, other.certificate
    if first is None or second is None or record_hash(one) == record_hash(other):
        return ()
    base = before if before and one.kind is RecordKind.ROUND else one
    keys = dict(zip(base.members, base.keys, strict=True))
    accepted = {each.peer: each.value for each in first.signatures if each.peer in keys}
    proofs: list[Proof] = []
    if first.attempt == second.attempt:
        proofs += [
            _proof(one, first.attempt, each.peer, keys, accepted, first.attempt, record_hash(other), each.value)
            for each in second.signatures
            if each.peer in accepted
        ]
    else:
        for promise in second.promises:
            hidden = promise.accepted is None or promise.accepted < first.attempt
            if promise.peer in accepted and hidden:
                proofs.append(
                    _proof(
                        one,
                        first.attempt,
                        promise.peer,
                        keys,
                        accepted,
                        second.attempt,
                        promise.record,
                        promise.value,
                        promise.accepted,
                    )
                )
    return tuple(proofs)


def _proof(
    record: Commit,
    attempt: Attempt,
    peer: PeerId,
    keys: dict[PeerId, str],
    accepted: dict[PeerId, str],
    other_attempt: Attempt,
    other_record: str,
    other_signature: str,
    other_accepted: Attempt | None = None,
) -> Proof:
    return Proof(
        peer=peer,
        key=keys[peer],
        lineage=record.lineage,
        round=record.round,
        attempt=attempt,
        record=record_hash(record),
        signature=accepted[peer],
        other_attempt=other_attempt,
        other_record=other_record,
        other_accepted=other_accepted,
        other_signature=other_signature,
    )


def _misplaced(record: Commit, before: Commit | None, min_peers: int, liars: int) -> str:
    """Why a record cannot follow ``before``, whoever has signed it; empty if it can."""
    where = f"the record of round {record.round}"
    if len(record.keys) != len(record.members) or len(record.weights) != len(record.group):
        return f"{where} has not one key for each member and one weight for each of the group"
    if not {*record.group} <= {*record.members} or not {*record.contributors} <= {*record.group}:
        return f"{where} has a group that is not of its membership"
    if len(record.group) < min_peers:
        return f"{where} has a group of {len(record.group)}, fewer than min_peers={min_peers}"
    if record.kind is RecordKind.FOUNDING:
        founding = record.previous == "" and record.round == 0 and before is None and record.best is None
        return "" if founding and _begins(record, ()) else f"{where} is not the founding one that it says it is"
    if before is None or record.previous != record_hash(before) or record.round != before.round + 1:
        return f"{where} does not follow the record before it"
    if before.closing:
        return f"{where} follows the closing one"
    if record.best and record.best.digest not in {before.digest, before.best.digest if before.best else ""}:
        return f"{where} names a best model that is not of a record before it"
    if record.kind is RecordKind.ROUND:
        same = record.lineage == before.lineage and record.origins == before.origins
        return "" if same else f"{where} is of another lineage than the record before it"
    whole = is_quorum(before.members, record.group, liars)
    if (record.kind is RecordKind.RESTART) != whole or not _begins(record, before.origins, whole=whole):
        return f"{where} does not say truly how its lineage began"
    return ""


def _begins(record: Commit, origins: Sequence[Origin], *, whole: bool = True) -> bool:
    """Whether a record is the first of its lineage, and says where that comes from."""
    return record.origins == origins_with(origins, Origin(record.lineage, record.round, whole))


def origins_with(origins: Sequence[Origin], new: Origin) -> tuple[Origin, ...]:
    """The origins of the lineage that begins with ``new``, of those of the one that it comes from.

    A swarm may be resumed without end, and each restart begins a lineage. So of more than ``MAX_ORIGINS`` the oldest
    after the first become one: it has the id of the last of them, as lineages of today have that in common, and tells
    how the first of them began, as that decides against what branched off earlier.
    """
    found = [*origins, new]
    while len(found) > MAX_ORIGINS:
        found[1:3] = [replace(found[1], lineage=found[2].lineage)]
    return tuple(found)


def stands(one: Commit, other: Commit) -> bool:
    """Whether the lineage of ``one`` stands against that of ``other``, which is another one.

    Where they parted, the one that has the majority of the membership they had in common stands: a lineage that did not
    branch off there has it unless the other one does. Else, where old origins were made one, it is the one that has
    begun anew more often since, then the one with more members, then the lower id. Of the members that a record names,
    only so many count as its signatures are a majority of: whoever founds a session could name others, who sign
    nothing.
    """
    mine, theirs = _after_common(one, other), _after_common(other, one)
    branch, their_branch = next(iter(mine or ()), None), next(iter(theirs or ()), None)
    if mine is not None and theirs is not None:
        if their_branch is None:
            return branch is not None and branch.majority
        if branch is None:
            return not their_branch.majority
        if branch.round != their_branch.round:
            # Where the first of them branched off, the other one stayed.
            return branch.majority if branch.round < their_branch.round else not their_branch.majority
        if branch.majority != their_branch.majority:
            return branch.majority
        if _joined(one) != _joined(other):
            return _joined(one) > _joined(other)
    return (_certified_members(one), other.lineage) > (_certified_members(other), one.lineage)


def _certified_members(record: Commit) -> int:
    signed = {each.peer for each in record.certificate.signatures} if record.certificate else set()
    return min(len(record.members), certified(len(signed)))


def _after_common(one: Commit, other: Commit) -> tuple[Origin, ...] | None:
    """The origins of ``one`` after the last one that ``other`` has too; None if they have none in common."""
    theirs = {origin.lineage for origin in other.origins}
    common = [number for number, origin in enumerate(one.origins, 1) if origin.lineage in theirs]
    return one.origins[common[-1] :] if common else None


def _joined(record: Commit) -> int:
    """The round before which origins may have become one; 0 if none have."""
    return record.origins[2].round if len(record.origins) == MAX_ORIGINS else 0

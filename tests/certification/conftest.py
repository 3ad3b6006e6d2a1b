"""Certified records of lineages, as honest peers make them, for tests that change one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from swarm.certification.chain import Verifier, origins_with
from swarm.certification.keys import ProcessKey
from swarm.certification.statements import accept_statement, promise_statement, record_hash
from swarm.quorums import is_quorum
from swarm.records import (
    Attempt,
    Commit,
    Credential,
    Origin,
    PeerId,
    RecordKind,
    Signature,
    SignedPromise,
    SyncState,
)
from tests.signing import certified

SESSION = "s"


class Book:
    """Keys of peers, and records that they sign; a name is given its key when it is first used."""

    def __init__(self) -> None:
        self.signers: dict[PeerId, ProcessKey] = {}

    def signer(self, peer: PeerId) -> ProcessKey:
        return self.signers.setdefault(peer, ProcessKey())

    def restart(self, peer: PeerId) -> None:
        """From now on another process has this name."""
        self.signers[peer] = ProcessKey()

    def verifier(self, **options: Any) -> Verifier:
        return Verifier(session=SESSION, signer=ProcessKey(), **options)

    def certify(self, record: Commit, **options: Any) -> Commit:
        return certified(SESSION, {peer: self.signer(peer) for peer in record.members}, record, **options)

    def founding(self, *members: PeerId, **changes: Any) -> Commit:
        return self.certify(self.record(RecordKind.FOUNDING, "line", 0, members, None, **changes))

    def following(self, before: Commit, *group: PeerId, **changes: Any) -> Commit:
        """The next round of a lineage; by default with all of its membership."""
        taking_part = group or before.members
        members = tuple(sorted({*before.members, *taking_part}))
        record = self.record(
            RecordKind.ROUND, before.lineage, before.round + 1, taking_part, before, members, **changes
        )
        removed = {proof.peer for proof in record.proofs}
        return self.certify(record, by=[peer for peer in taking_part if peer in before.members and peer not in removed])

    def branch(self, before: Commit, lineage: str, *group: PeerId, **changes: Any) -> Commit:
        """The first record of another lineage, of this group."""
        kind = RecordKind.RESTART if is_quorum(before.members, group) else RecordKind.FORK
        return self.certify(replace(self.record(kind, lineage, before.round + 1, group, before), **changes))

    def record(
        self,
        kind: RecordKind,
        lineage: str,
        round_: int,
        group: Sequence[PeerId],
        before: Commit | None,
        members: Sequence[PeerId] = (),
        **changes: Any,
    ) -> Commit:
        members = tuple(members or group)
        keys = {peer: self.signer(peer).key for peer in members}
        if before and kind is RecordKind.ROUND:
            keys |= {peer: before.key_of(peer) for peer in members if before.key_of(peer) and peer not in group}
        known: Mapping[PeerId, str] = dict(zip(before.members, before.keys, strict=True)) if before else {}
        origins = before.origins if before else ()
        if kind is not RecordKind.ROUND:
            whole = before is None or is_quorum(before.members, group)
            origins = origins_with(origins, Origin(lineage, round_, whole))
        made = Commit(
            lineage=lineage,
            round=round_,
            digest=f"model-{lineage}-{round_}",
            members=members,
            group=tuple(group),
            contributors=tuple(group),
            sync=SyncState(8),
            kind=kind,
            previous=record_hash(before) if before else "",
            keys=tuple(keys.values()),
            weights=(1,) * len(group),
            rule="mean",
            codec="exact",
            credentials=tuple(Credential(peer, key) for peer, key in keys.items() if known.get(peer) != key),
            origins=origins,
        )
        return replace(made, **changes)

    def accepts(self, peer: PeerId, record: Commit, attempt: Attempt) -> Signature:
        statement = accept_statement(SESSION, record.lineage, record.round, attempt, record_hash(record))
        return Signature(peer, self.signer(peer).sign(statement))

    def promises(
        self, peer: PeerId, record: Commit, attempt: Attempt, before: tuple[Attempt, str] | None = None
    ) -> SignedPromise:
        """The promise of a voter in the round of ``record``; ``before`` is what it says to have accepted."""
        then, hashed = before or (None, "")
        statement = promise_statement(SESSION, record.lineage, record.round, attempt, then, hashed)
        return SignedPromise(peer, then, hashed, self.signer(peer).sign(statement))


@pytest.fixture
def book() -> Book:
    return Book()

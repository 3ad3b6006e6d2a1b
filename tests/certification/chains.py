"""Chains of certified records, as the peers of a session make them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from swarm.certification.chain import Verifier
from swarm.certification.keys import ProcessKey
from swarm.certification.statements import accept_statement, record_hash
from swarm.records import (
    Attempt,
    Commit,
    Credential,
    Origin,
    PeerId,
    QuorumCertificate,
    RecordKind,
    Refusal,
    Signature,
    SyncState,
)

SESSION = "heart"
PEERS = ("ada", "bob", "cyd")


@dataclass
class Signatories:
    """Peers with their keys, who certify what a test gives them."""

    names: Sequence[PeerId] = PEERS
    session: str = SESSION
    keys: dict[PeerId, ProcessKey] = field(default_factory=dict)
    proved: Callable[[PeerId, str], Credential] = Credential
    """The credential of a peer's key."""

    def __post_init__(self) -> None:
        self.keys = {name: ProcessKey() for name in self.names}

    @property
    def verifier(self) -> Verifier:
        return Verifier(session=self.session, signer=ProcessKey())

    def credential(self, name: PeerId) -> Credential:
        return self.proved(name, self.keys[name].key)

    def certified(self, record: Commit, signers: Iterable[PeerId] | None = None, attempt: int = 0) -> Commit:
        """``record`` with the signatures of ``signers``, by default of its group."""
        tried = Attempt(attempt, record.group[0])
        statement = accept_statement(self.session, record.lineage, record.round, tried, record_hash(record))
        names = record.group if signers is None else signers
        signatures = tuple(Signature(name, self.keys[name].sign(statement)) for name in names)
        return replace(record, certificate=QuorumCertificate(tried, signatures))

    def founding(self, lineage: str = "line", group: Sequence[PeerId] | None = None) -> Commit:
        names = tuple(group or self.names)
        record = Commit(
            lineage=lineage,
            round=0,
            digest=f"{lineage}-0",
            members=names,
            group=names,
            contributors=names[:1],
            sync=SyncState(4),
            kind=RecordKind.FOUNDING,
            keys=tuple(self.keys[name].key for name in names),
            weights=(1, *(0 for _ in names[1:])),
            rule="mean",
            codec="exact",
            credentials=tuple(map(self.credential, names)),
            origins=(Origin(lineage, 0, majority=True),),
        )
        return self.certified(record)

    def after(self, before: Commit, *, signers: Iterable[PeerId] | None = None, **changes: object) -> Commit:
        """The next record of the lineage, certified by its group."""
        attempt = changes.pop("attempt", 0)
        record = replace(
            before,
            round=before.round + 1,
            digest=f"{before.lineage}-{before.round + 1}",
            contributors=before.group,
            kind=RecordKind.ROUND,
            previous=record_hash(before),
            weights=tuple(range(1, len(before.group) + 1)),
            credentials=(),
            sync=SyncState(4, 0.5),
            certificate=None,
            refused=(),
        )
        return self.certified(replace(record, **changes), signers, attempt)

    def fork(self, before: Commit, lineage: str, group: Sequence[PeerId]) -> Commit:
        """A minority goes on by itself."""
        names = tuple(group)
        record = replace(
            self.after(before),
            lineage=lineage,
            digest=f"{lineage}-{before.round + 1}",
            kind=RecordKind.FORK,
            members=names,
            group=names,
            contributors=names,
            keys=tuple(self.keys[name].key for name in names),
            weights=tuple(1 for _ in names),
            origins=(*before.origins, Origin(lineage, before.round + 1, majority=False)),
            certificate=None,
        )
        return self.certified(record)

    def chain(self, length: int, lineage: str = "line") -> list[Commit]:
        """A founding record and the rounds after it; one of them leaves a contribution out."""
        found = [self.founding(lineage)]
        while len(found) < length:
            left_out = (Refusal(self.names[-1], "its weights are not finite"),) if len(found) == 2 else ()
            found.append(self.after(found[-1], refused=left_out))
        return found

"""Records of rounds: alone, in frames of a peer, in exports and in databases of ledgers."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from swarm.certification.chain import Verifier
from swarm.certification.encoding import decode_record, encode_record
from swarm.certification.keys import ProcessKey
from swarm.errors import ExchangeError, LedgerError
from swarm.messages import Decide, Envelope
from swarm.peer.record_frames import read_records
from swarm.records import Commit, Credential, RecordKind
from swarm.storage.ledger import Owner
from swarm.storage.ledger.audit import Audit
from swarm.storage.ledger.exports import export_lines, open_source
from swarm.storage.ledger.files import DATABASE, LedgerFiles
from swarm.storage.ledger.head import HEAD, decode_head
from swarm.storage.ledger.sources import DatabaseSource
from swarm.transport.grpc.wire import decode, encode
from tests.fuzz import examples
from tests.fuzz.mutation import BINARY, TEXT
from tests.fuzz.target import Target
from tests.fuzz.workspace import folder

SIGNER = examples.SIGNERS["berlin"]


def _record(data: bytes) -> RecordKind:
    """What is accepted can be told to other peers, and is written again as it was."""
    record = decode_record(data)
    assert encode_record(record) == data
    sent = examples.envelope(Decide(record))
    assert decode(Envelope, encode(sent)).message == sent.message
    return record.kind


def _frames(data: bytes) -> int:
    return len(list(read_records([memoryview(data)])))


def _head(data: bytes) -> int:
    head = decode_head(data)
    ProcessKey().verify(head.credential.key, head.statement, head.signature)
    return head.count


def _ledger(data: bytes) -> int:
    """A ledger or an export in a file: checked as a whole."""
    place = folder("ledger") / DATABASE
    place.write_bytes(data)
    audit = Audit(open_source(place), Verifier(session=examples.SESSION, signer=SIGNER), None)
    assert all(text.isprintable() for text in audit.findings)
    return len(audit.findings)


@cache
def _chain() -> tuple[Commit, ...]:
    first = replace(examples.commit(), round=0, kind=RecordKind.FOUNDING, previous="")
    return first, examples.commit()


@cache
def _place() -> DatabaseSource:
    """A ledger on disk."""
    place = folder("example")
    owner = Owner(session=examples.SESSION, signer=SIGNER, credential=Credential("berlin", SIGNER.key))
    files = LedgerFiles(place, owner, lambda _: None)
    files.append(_chain())
    files.close()
    return DatabaseSource(place / DATABASE)


def _records() -> Mapping[str, bytes]:
    first, last = _chain()
    without = replace(last, certificate=None, sync=replace(last.sync, reference=None), closing=True)
    return {name: encode_record(each) for name, each in (("founding", first), ("round", last), ("closing", without))}


def _ledgers() -> Mapping[str, bytes]:
    source = _place()
    small = folder("small") / DATABASE
    shutil.copyfile(source.path, small)
    return {"export": b"".join(export_lines(source)), "database": small.read_bytes()}


GROUP = [
    Target(name="record", run=_record, refusals=(ValueError,), values=_records, form=TEXT),
    Target(
        name="record-frame",
        run=_frames,
        refusals=(ExchangeError,),
        values=lambda: {"two": b"\n".join(map(encode_record, _chain()))},
        form=TEXT,
    ),
    Target(
        name="ledger-head",
        run=_head,
        refusals=(LedgerError,),
        values=lambda: {"signed": _place().path.with_name(HEAD).read_bytes()},
        form=TEXT,
    ),
    Target(name="ledger", run=_ledger, refusals=(LedgerError,), values=_ledgers, form=BINARY),
]

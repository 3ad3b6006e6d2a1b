"""Ledgers of a test: written by a peer, or changed by somebody who may write its files."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from swarm.certification.statements import record_hash
from swarm.executor import ThreadExecutor
from swarm.records import Commit, PeerId
from swarm.storage.ledger import Owner, StoredLedger
from swarm.storage.ledger.audit import Audit
from swarm.storage.ledger.base import first_link, next_link
from swarm.storage.ledger.exports import open_source
from swarm.storage.ledger.files import DATABASE
from swarm.testing.swarm import _logger
from tests.certification.chains import SESSION, Signatories


def owner(signatories: Signatories, peer: PeerId = "ada", settings: str = "") -> Owner:
    key, credential = signatories.keys[peer], signatories.credential(peer)
    return Owner(session=signatories.session, signer=key, credential=credential, settings=settings)


def opened(
    place: Path,
    signatories: Signatories,
    lines: list[str] | None = None,
    peer: PeerId = "ada",
    settings: str = "",
) -> StoredLedger:
    logger = _logger("ledger", [] if lines is None else lines)
    return StoredLedger(place, owner(signatories, peer, settings), executor=ThreadExecutor(), logger=logger)


def written(
    place: Path, signatories: Signatories, records: Sequence[Commit], peer: PeerId = "ada", settings: str = ""
) -> Path:
    """The file of a ledger with these records, of a process that has ended."""
    ledger = opened(place, signatories, peer=peer, settings=settings)
    ledger.append(records)
    ledger.close(timeout=30)
    return place / DATABASE


def audited(path: Path, signatories: Signatories) -> Audit:
    return Audit(open_source(path), signatories.verifier, None)


def findings(path: Path, signatories: Signatories) -> list[str]:
    return audited(path, signatories).findings


@contextmanager
def rows(path: Path) -> Iterator[sqlite3.Connection]:
    """The database, to be changed by hand."""
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def linked_anew(path: Path, peer: PeerId = "ada", session: str = SESSION) -> None:
    """Number the rows without a gap and compute all links, as somebody would who hides a change."""
    with rows(path) as connection:
        found = connection.execute("SELECT record, round, branch, content FROM records ORDER BY number").fetchall()
        connection.execute("DELETE FROM records")
        link = first_link(session, peer)
        for number, (record, round_, branch, content) in enumerate(found, 1):
            link = next_link(link, content)
            values = number, record, round_, branch, link, content
            connection.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)", values)


def hashes(records: Sequence[Commit]) -> list[str]:
    return [record_hash(record) for record in records]

"""Finds what was changed in a ledger, and where the ledgers of two peers contradict one another.

One pass over the rows checks each link, each certificate against the keys of the record before, what the database finds
each row by, and what other places say about how far the ledger went. A row whose link is wrong is told once; those
after it are checked against the link that it states.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from swarm.certification.chain import conflict
from swarm.certification.encoding import decode_record
from swarm.certification.statements import record_hash
from swarm.records import RecordKind
from swarm.storage.ledger.base import Head, first_link, next_link
from swarm.storage.ledger.database import Listing
from swarm.text import listed, printable

if TYPE_CHECKING:
    from swarm.certification.chain import Verifier
    from swarm.records import Commit, Credential
    from swarm.storage.ledger.database import Row
    from swarm.storage.ledger.sources import Source

MOST = 100
"""Findings that are told, of one ledger."""
_RECENT = 1024
"""Records that are kept in memory to check those that follow them."""


class Audit:
    """What is wrong with one ledger, after one pass over it."""

    def __init__(
        self,
        source: Source,
        verifier: Verifier,
        vouch: Callable[[Credential], str] | None,
        liars: int | None = None,
    ) -> None:
        """Check all rows.

        Args:
            source: of the rows.
            verifier: tells true records in its session, where no members lie.
            vouch: why a credential is not that of its peer; None: nobody knows the authority.
            liars: how many voters may sign two results; None: as many as the settings in the head say.

        Raises:
            LedgerError: the rows cannot be read.
        """
        self.source = source
        self.findings: list[str] = []
        """What is wrong, as sentences."""
        self.notes: list[str] = []
        """What could not be checked."""
        self.count = 0
        """Of the rows."""
        self._verifier = verifier
        self._liars = liars
        self._told = {_settings_hash(text): liars_in(text) for text in (source.head and source.head.settings) or ()}
        """``tolerated_liars`` of the runs whose settings are known, by the hash that their records have."""
        self._unknown: list[int] = []
        """Rows of records whose settings are not known."""
        self._differing: set[int] = set()
        """What settings say, other than ``liars``."""
        self._vouch = vouch
        self._rows: dict[bytes, int] = {}
        """Number of the row of each record, by its hash."""
        self._rounds: dict[tuple[str, int], list[int]] = {}
        """Numbers of the rows of each round of each lineage."""
        self._recent: OrderedDict[str, Commit] = OrderedDict()
        self._credentials: dict[str, Credential] = {}
        """What records say of the peer whose ledger it is, by its key."""
        self._wanted = Counter(each.head.count for each in source.noted if each.head)
        if source.head:
            self._wanted[source.head.count] += 1
        self._branches: dict[int, int] = {}
        """The branch of each row."""
        self._ends: dict[int, int] = {}
        """Number of the last row of each branch."""
        self._links: dict[int, str] = {0: first_link(source.session, source.peer)}
        """The links of the rows that other places name."""
        for text in source.damage():
            self._find(text)
        self._check_rows()
        self._check_ends()
        self._note_liars()

    def get(self, record: str) -> Commit | None:
        """The record with this hash."""
        found = self._recent.get(record)
        number = self._rows.get(_digest(record))
        if found or number is None:
            return found
        return decode_record(next(self.source.rows(number - 1)).content)

    def has(self, record: str) -> bool:
        """Whether a record with this hash is there."""
        return _digest(record) in self._rows

    def records(self) -> Iterator[tuple[int, Commit]]:
        """All records that can be read, with the numbers of their rows."""
        for row in self.source.rows():
            try:
                yield row.number, decode_record(row.content)
            except ValueError:
                continue

    def of_round(self, lineage: str, round_: int) -> list[Commit]:
        """The records of a round."""
        numbers = self._rounds.get((lineage, round_), [])
        return [decode_record(next(self.source.rows(number - 1)).content) for number in numbers]

    def _find(self, text: str) -> None:
        if len(self.findings) < MOST:
            self.findings.append(printable(text))
        elif len(self.findings) == MOST:
            self.findings.append("there is more, which is not told")

    # The rows --------------------------------------------------------------------------------------------------------

    def _check_rows(self) -> None:
        link = self._links[0]
        for row in self.source.rows():
            linked = row.link == next_link(link, row.content)
            if row.number != self.count + 1:
                self._find(f"{_rows(self.count + 1, row.number - 1)} missing")
            elif not linked:
                self._find(f"record {row.number} was changed, or did not follow record {self.count}: its link is wrong")
            self.count, link = row.number, row.link
            if self.count in self._wanted:
                self._links[self.count] = link
            self._check_record(row, linked=linked)

    def _check_record(self, row: Row, *, linked: bool) -> None:
        try:
            record = decode_record(row.content)
        except ValueError as error:
            self._find(f"record {row.number} cannot be read: {error}")
            return
        name, where = record_hash(record), named(row.number, record)
        if self.has(name):
            self._find(f"{where} is there twice")
            return
        before = self.get(record.previous) if record.previous else None
        if record.previous and before is None:
            self._find(f"{where} follows one that is not there before it")
        elif reason := replace(self._verifier, liars=self._liars_of(row.number, before)).doubt(record, before):
            self._find(f"{where} is not true: {reason}")
        if record.kind is RecordKind.ROUND:
            self._check_round(where, record, before)
        if row.listing:
            self._check_listing(where, record, row.number, row.listing, linked=linked)
        self._rows[_digest(name)] = row.number
        self._rounds.setdefault((record.lineage, record.round), []).append(row.number)
        self._recent[name] = record
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
        self._credentials |= {each.key: each for each in record.credentials if each.peer == self.source.peer}

    def _check_round(self, where: str, record: Commit, before: Commit | None) -> None:
        """A round has one record, unless peers have signed two."""
        for other in self.of_round(record.lineage, record.round):
            if other.previous == record.previous:
                self._find(f"{where} contradicts another record of that round: {_who(record, other, before)}")

    def _check_listing(self, where: str, record: Commit, number: int, said: Listing, *, linked: bool) -> None:
        """No link is over what a row is found by: the record itself says what that is."""
        before = self._rows.get(_digest(record.previous)) if record.previous else None
        branch = number
        if before is not None and self._ends[self._branches[before]] == before:
            branch = self._branches[before]
        if not linked or (record.previous and before is None):
            # It was told that rows were moved or are missing: which branch this one was in is not known.
            branch = said.branch if type(said.branch) is int else number
        true = Listing(record_hash(record), record.round, branch)
        wrong = [name for name, was in asdict(said).items() if getattr(true, name) != was]
        if wrong:
            self._find(f"{where} is listed under another {listed(wrong)}, where the ledger does not find it")
        self._branches[number] = branch
        self._ends[branch] = number

    def _liars_of(self, number: int, before: Commit | None) -> int:
        """How many voters may sign two results in the round after ``before``.

        By the settings of that record, which more votes than the one that is checked may have certified.
        """
        if before is None or not before.settings:
            return self._liars or 0
        told = self._told.get(before.settings)
        if self._liars is None:
            if told is None:
                self._unknown.append(number)
            return told or 0
        if told not in {None, self._liars}:
            self._differing.add(told or 0)
        return self._liars

    def _note_liars(self) -> None:
        for told in sorted(self._differing):
            text = f"it was checked with tolerated_liars={self._liars}; the settings of the session say {told}"
            self.notes.append(text)
        if self._unknown:
            self.notes.append(
                f"the settings of {len(self._unknown)} records, the first of them record {self._unknown[0]}, are not in"
                " its head: they were checked with tolerated_liars=0; if the session had another number, give it"
            )

    # Where they end --------------------------------------------------------------------------------------------------

    def _check_ends(self) -> None:
        signed = self.source.head
        if signed is None:
            self._find("its signed head is missing or damaged, so that records may have been cut off")
        else:
            self._check_head(f"the head, which {signed.peer} has signed,", signed.head)
            if reason := self._unsigned():
                self._find(f"its head is not signed by {self.source.peer}: {reason}")
        for noted in self.source.noted:
            if noted.head:
                self._check_head(noted.where, noted.head)
            else:
                self._find(f"{noted.where} was missing or damaged when a run started")
        if self.source.closed and not self.has(self.source.closed[1]):
            self._find(f"the record that made {self.source.closed[0]} is missing")

    def _check_head(self, where: str, head: Head) -> None:
        if head.count > self.count:
            self._find(f"{where} counts {head.count} records: {_rows(self.count + 1, head.count)} missing at the end")
        elif self._links.get(head.count) != head.link:
            self._find(f"{where} had another record {head.count}: it or one before it was changed or replaced")

    def _unsigned(self) -> str:
        """Why the head is not signed by the peer; empty if it is."""
        signed, source = self.source.head, self.source
        if signed is None:
            return ""
        credential = signed.credential
        if (signed.session, signed.peer, credential.peer) != (source.session, source.peer, source.peer):
            return f"it is the one of {signed.peer} in session {signed.session}"
        if not self._verifier.signer.verify(credential.key, signed.statement, signed.signature):
            return "its signature is wrong"
        known = self._credentials.get(credential.key)
        if known == credential:
            return ""
        if self._vouch is not None:
            return self._vouch(credential)
        if known:
            return "what it says to prove its key is not what the records say"
        if self.count:
            self.notes.append("the head is signed with a key that no record has, which anybody could have made")
        return ""


def disagreements(one: Audit, other: Audit) -> Iterator[str]:
    """Where two ledgers of a session contradict one another, and what the first one must have had and lacks.

    The second one may be older.
    """
    for number, theirs in other.records():
        if one.has(record_hash(theirs)):
            continue
        for ours in one.of_round(theirs.lineage, theirs.round):
            if ours.previous == theirs.previous:
                before = other.get(theirs.previous) if theirs.previous else None
                mine, its = record_hash(ours)[:12], record_hash(theirs)[:12]
                where = f"round {theirs.round} of lineage {theirs.lineage}"
                who = _who(ours, theirs, before)
                yield f"{where}: {one.source} has record {mine}, {other.source} has {its} (record {number}); {who}"
    yield from _lacking(one, other)


def _lacking(one: Audit, other: Audit) -> Iterator[str]:
    """Records of ``other`` that ``one`` lacks, though its peer has signed what follows them."""
    peer, first, count = one.source.peer, "", 0
    for _, record in other.records():
        signers = {each.peer for each in record.certificate.signatures} if record.certificate else set()
        if peer not in signers or not record.previous or one.has(record.previous):
            continue
        count += 1
        lacked = None if first else other.get(record.previous)
        first = first or (f"round {lacked.round} of lineage {lacked.lineage}" if lacked else "")
    if count:
        which = f" (the first is that of {first})" if first else ""
        yield (
            f"{one.source} lacks {count} records{which} that {peer} had, as it has signed those that follow them; they"
            f" are in {other.source} or were before it"
        )


def named(number: int, record: Commit) -> str:
    """A record in a sentence."""
    return f"record {number} (round {record.round} of lineage {record.lineage})"


def _who(one: Commit, other: Commit, before: Commit | None) -> str:
    """Who has signed two records of one round."""
    liars = [proof.peer for proof in conflict(one, other, before)]
    return f"{listed(liars)} signed both" if liars else "who is wrong cannot be told from them"


def liars_in(settings: str) -> int:
    """``tolerated_liars`` in the settings that peers have agreed on, as a head has them."""
    try:
        found = dict(json.loads(settings)).get("tolerated_liars", "0")
        return int(found)
    except (ValueError, TypeError, RecursionError):
        return 0


def _settings_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _rows(first: int, last: int) -> str:
    return f"record {first} is" if first == last else f"records {first} to {last} are"


def _digest(record: str) -> bytes:
    """A hash as its bytes, which take less memory; of what is none, what no record has."""
    try:
        return bytes.fromhex(record)
    except ValueError:
        return b""

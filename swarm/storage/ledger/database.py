"""The SQLite database of a ledger. A connection is used by the thread that has opened it, and closed by it.

Rows are numbered from 1 without a gap. A *branch* is a run of records each of which follows the one before it in the
branch; it has the number of its first row. A record that does not follow the last one of a branch begins another one.
So the records up to a certain one are found branch by branch, in order, without a walk over all of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swarm.certification.encoding import MAX_BYTES, decode_record, encode_record
from swarm.certification.statements import record_hash
from swarm.errors import LedgerError
from swarm.storage.ledger.base import FORMAT, Head, first_link, is_link, next_link

if TYPE_CHECKING:
    from pathlib import Path

    from swarm.records import Commit, PeerId

PAGE = 64
"""Rows that are read at a time."""
PAGE_BYTES = 2**20
"""A page ends with the row that makes it this large."""
_WAIT = 5.0
"""Seconds for another process that holds the database."""
_SCHEMA = {
    "about": "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "records": (
        "CREATE TABLE records (number INTEGER PRIMARY KEY, record TEXT NOT NULL UNIQUE, round INTEGER NOT NULL,"
        " branch INTEGER NOT NULL, link TEXT NOT NULL, content BLOB NOT NULL)"
    ),
    "branches": "CREATE INDEX branches ON records (branch)",
}
_OBJECTS = {
    ("table", "about", "about", _SCHEMA["about"]),
    ("index", "sqlite_autoindex_about_1", "about", None),
    ("table", "records", "records", _SCHEMA["records"]),
    ("index", "sqlite_autoindex_records_1", "records", None),
    ("index", "branches", "records", _SCHEMA["branches"]),
}
"""All that a ledger has, as SQLite lists it."""
_PAGE = (
    "SELECT number, link, content, record, round, branch FROM records"
    " WHERE number > ? AND (? IS NULL OR round = ?) ORDER BY number LIMIT ?"
)
_PAGE_OF_BRANCH = (
    "SELECT number, link, content FROM records WHERE branch = ? AND number > ? AND number <= ? ORDER BY number LIMIT ?"
)
_LAST_OF_BRANCH = "SELECT number FROM records WHERE branch = ? ORDER BY number DESC LIMIT 1"


@dataclass(frozen=True, slots=True)
class Listing:
    """What the database finds a row by, as it is said to be; a check computes it from the records."""

    record: object
    """Hash of the record."""
    round: object
    branch: object


@dataclass(frozen=True, slots=True)
class Row:
    """One record in a ledger."""

    number: int
    """From 1."""
    link: str
    """What it is said to be; a check compares it."""
    content: bytes
    """The record with its certificate, encoded."""
    listing: Listing | None = None
    """None: of an export, which has none, and of rows of a branch, which are not checked."""


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive records of one branch."""

    branch: int
    after: int
    """Number of the row before the first one."""
    last: int
    """Number of the last row."""


class Database:
    """The rows of one ledger. Its methods raise LedgerError where the database cannot be read or written."""

    def __init__(self, connection: sqlite3.Connection, session: str, peer: PeerId) -> None:
        """Use ``open_database`` or ``create_database``."""
        self._connection = connection
        self.session = session
        self.peer = peer

    def close(self) -> None:
        """Close the connection; the last one also moves the rows from the log into the database."""
        with suppress(sqlite3.Error):
            self._connection.close()

    def end(self) -> Head:
        """How far it goes."""
        row = self._one("SELECT number, link FROM records ORDER BY number DESC LIMIT 1")
        if row is None:
            return Head(0, first_link(self.session, self.peer))
        number = _whole(row[0])
        return Head(number, _link(row[1], number))

    def end_at(self, count: int) -> Head | None:
        """How far it went when it had so many rows; None if it never had."""
        if count == 0:
            return Head(0, first_link(self.session, self.peer))
        row = self._one("SELECT link FROM records WHERE number = ?", count)
        return None if row is None else Head(count, _link(row[0], count))

    def append(self, records: Iterable[Commit]) -> Head:
        """Add records in one transaction, all or none; those that are there are skipped."""
        with _told():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                head = self.end()
                for record in records:
                    head = self._add(record, head)
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise
        return head

    def _add(self, record: Commit, head: Head) -> Head:
        name, content = record_hash(record), encode_record(record)
        if self._place(name):
            return head
        number = head.count + 1
        before = self._place(record.previous) if record.previous else None
        last = before and self._one(_LAST_OF_BRANCH, before[1])
        branch = before[1] if before and last == before[:1] else number
        link = next_link(head.link, content)
        values = number, name, record.round, branch, link, content
        self._connection.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)", values)
        return Head(number, link)

    def content(self, record: str) -> bytes | None:
        """The record with this hash, encoded; None if it is not there."""
        row = self._one("SELECT number, content FROM records WHERE record = ?", record)
        return None if row is None else _bytes(row[1], _whole(row[0]))

    def spans(self, record: str, after: str) -> list[Span]:
        """Where the records up to ``record`` are, the oldest first.

        Those after ``after`` if it is among them, else all. None if ``record`` or one that it comes from is not there.
        """
        end = self._place(after) if after else None
        place, found = self._place(record), list[Span]()
        while place:
            number, branch = place
            if end and end[1] == branch and end[0] <= number:
                found.append(Span(branch, end[0], number))
                return found[::-1]
            found.append(Span(branch, branch - 1, number))
            first = self._one("SELECT content FROM records WHERE number = ?", branch)
            previous = _decoded(_bytes(first[0], branch)).previous if first else "missing"
            if not previous:
                return found[::-1]
            place = self._place(previous)
            if place and place[0] >= branch:
                break  # no ledger has a record before the one that it follows
        return []

    def page(self, span: Span) -> list[Row]:
        """The first rows of a span; empty if it has none."""
        return self._page(_PAGE_OF_BRANCH, span.branch, span.after, span.last, PAGE)

    def rows(self, after: int = 0, round_: int | None = None) -> Iterator[Row]:
        """All rows after the one with the number ``after``, in order, page by page; with ``round_``, those of it."""
        while page := self._page(_PAGE, after, round_, round_, PAGE):
            yield from page
            after = page[-1].number

    def damage(self) -> Iterator[str]:
        """What is wrong with the file itself, in so far as nothing in ``rows`` shows it."""
        with _told():
            found = [str(text) for (text,) in self._connection.execute("PRAGMA integrity_check")]
            (below,) = self._connection.execute("SELECT count(*) FROM records WHERE number < 1").fetchone()
        yield from (f"its database is damaged: {text}" for text in found if text != "ok")
        if below:
            yield f"it has {below} records with a number below 1, which nothing counts"
        for name in ("user_version", "application_id"):
            if (value := self._one(f"PRAGMA {name}")) != (0,):
                yield f"its database has the {name} {value[0] if value else 'none'}, which Swarm has not written"

    def _page(self, query: str, *values: int | None) -> list[Row]:
        found: list[Row] = []
        size = 0
        with _told():
            for each, link, content, *found_by in self._connection.execute(query, values):
                number = _whole(each)
                found.append(
                    Row(number, _link(link, number), _bytes(content, number), Listing(*found_by) if found_by else None)
                )
                size += len(content)
                if size >= PAGE_BYTES:
                    break
        return found

    def _place(self, record: str) -> tuple[int, int] | None:
        """The number and the branch of the row of a record."""
        row = self._one("SELECT number, branch FROM records WHERE record = ?", record)
        return None if row is None else (_whole(row[0]), _whole(row[1]))

    def _one(self, query: str, *values: Any) -> tuple[Any, ...] | None:
        with _told():
            row: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
        return row


@contextmanager
def open_database(path: Path) -> Iterator[Database]:
    """A database to read; one that another process, or another thread, writes to as well.

    Raises:
        LedgerError: there is none, or it is damaged.
    """
    # Without a log nobody writes it; then SQLite makes no files beside it, which it could not where it may only read.
    alone = not path.with_name(f"{path.name}-wal").exists()
    found = _read_only(path, "mode=ro&immutable=1" if alone else "mode=ro")
    try:
        yield found
    finally:
        found.close()


def _read_only(path: Path, mode: str) -> Database:
    with _told():
        connection = _connected(path, mode)
    try:
        return _opened(connection)
    except BaseException:
        connection.close()
        raise


def create_database(path: Path, session: str, peer: PeerId) -> Database:
    """A database to write, which is made if it is not there. A row is on the disk when ``append`` returns.

    Raises:
        LedgerError: it cannot be written, or is damaged, or is that of another peer.
    """
    if not path.exists():
        _make(path, session, peer)
    with _told():
        connection = _connected(path, "mode=rw")
        try:
            found = _opened(connection)  # before anything is changed in what may be no ledger
            if (found.session, found.peer) != (session, peer):
                raise LedgerError(f"it is the ledger of {found.peer} in session {found.session}", damaged=True)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
    return found


def _make(path: Path, session: str, peer: PeerId) -> None:
    """Make an empty database, which appears at ``path`` as a whole."""
    draft = path.with_name(f".{path.name}.new")
    for left in (draft, draft.with_name(f"{draft.name}-journal")):  # by a process that was killed
        left.unlink(missing_ok=True)
    with _told(), closing(_connected(draft, "mode=rwc")) as connection:
        for statement in _SCHEMA.values():
            connection.execute(statement)
        about = {"format": str(FORMAT), "session": session, "peer": peer}
        connection.executemany("INSERT INTO about VALUES (?, ?)", about.items())
    draft.replace(path)


def _connected(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", timeout=_WAIT, isolation_level=None, uri=True)
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_BYTES + 2**16)
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _opened(connection: sqlite3.Connection) -> Database:
    """Checks that the database is a ledger: nothing else is read from it."""
    with _told():
        rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT 10").fetchall()
        if len(rows) != len(_OBJECTS) or {*rows} != _OBJECTS:
            raise LedgerError("it is no ledger, or one of another version of Swarm", damaged=True)
        about = dict(connection.execute("SELECT name, value FROM about LIMIT 4"))
    texts = all(type(value) is str for value in about.values())
    if not texts or about.keys() != {"format", "session", "peer"} or about["format"] != str(FORMAT):
        raise LedgerError("it is no ledger, or one of another version of Swarm", damaged=True)
    return Database(connection, about["session"], about["peer"])


@contextmanager
def _told() -> Iterator[None]:
    """Errors of SQLite as ours."""
    try:
        yield
    except sqlite3.Error as error:
        # Its subclasses are about the disk, locks and limits; the class itself says that the file is no database. A
        # statement that cannot be prepared is no fault of ours: the header or the schema is not what was written.
        damaged = (
            type(error) is sqlite3.DatabaseError or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
        )
        raise LedgerError(str(error), damaged=damaged) from error
    except UnicodeDecodeError as error:  # of SQLite's own message, which quotes bytes of a damaged schema
        raise LedgerError("its schema is damaged: it holds bytes that are no text", damaged=True) from error


def _decoded(content: bytes) -> Commit:
    try:
        return decode_record(content)
    except ValueError as error:
        raise LedgerError(str(error), damaged=True) from error


def _whole(value: object) -> int:
    if type(value) is not int:
        raise LedgerError("a row has no number", damaged=True)
    return value


def _link(value: object, number: int) -> str:
    if type(value) is not str or not is_link(value):
        raise LedgerError(f"record {number} has no link", damaged=True)
    return value


def _bytes(value: object, number: int) -> bytes:
    if type(value) is not bytes:
        raise LedgerError(f"record {number} is not there, only its number is", damaged=True)
    return value

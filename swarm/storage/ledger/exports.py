"""A ledger as lines of JSON, which can be read without SQLite and is checked like a database.

The first line says what it is an export of, and how far that goes; each further line is one record with its link.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from swarm.certification import encoding
from swarm.errors import LedgerError
from swarm.records import PeerId
from swarm.storage.ledger.base import FORMAT, Head, is_link
from swarm.storage.ledger.database import Row, open_database
from swarm.storage.ledger.head import SignedHead
from swarm.storage.ledger.sources import DatabaseSource, Noted, Source

_START, _MIDDLE, _END = b'{"link":"', b'","record":', b"}"
_LINK = slice(len(_START), len(_START) + 64)
_RECORD = slice(_LINK.stop + len(_MIDDLE), -len(_END))
_MAX_LINE = encoding.MAX_BYTES + 2**10
_SQLITE = b"SQLite format 3\0"
"""The first bytes of a database."""


@dataclass(frozen=True, slots=True)
class ExportStart:
    """The first line of an export."""

    ledger: int
    """``FORMAT``."""
    session: str
    peer: PeerId
    count: int
    """Of the records that follow."""
    link: str
    """Of the last one."""
    head: SignedHead | None


encoding.require_limits(ExportStart)


class ExportSource(Source):
    """An export in a file."""

    def __init__(self, path: Path) -> None:
        """Read its first line.

        Raises:
            LedgerError: it is no export, or cannot be read.
        """
        super().__init__(path)
        self._places = array("q")
        """Where the line of each row begins, as far as it was read."""
        start = self._start()
        self.session, self.peer, self.count, self.head = start.session, start.peer, start.count, start.head
        self.noted = (Noted("its first line", Head(start.count, start.link)),)

    def rows(self, after: int = 0, round_: int | None = None) -> Iterator[Row]:
        after = max(after, 0)
        try:
            with self.path.open("rb") as file:
                number = min(after, len(self._places) - 1)
                if number < 0:
                    number = 0
                    file.readline(_MAX_LINE)
                else:
                    file.seek(self._places[number])
                while line := self._line(file, number):
                    number += 1
                    if number > after and (round_ is None or b'"round":%d,' % round_ in line):
                        yield _row(line, number)
        except OSError as error:
            raise LedgerError(str(error)) from error

    def _line(self, file: BinaryIO, index: int) -> bytes:
        """The next line, of the row after ``index`` others; empty at the end."""
        if index == len(self._places):
            self._places.append(file.tell())
        return file.readline(_MAX_LINE)

    def _start(self) -> ExportStart:
        try:
            with self.path.open("rb") as file:
                line = file.readline(_MAX_LINE)
            found = encoding.decode(ExportStart, line.removesuffix(b"\n"))
        except (OSError, ValueError) as error:
            raise LedgerError(f"it is no export of a ledger: {error}", damaged=True) from error
        if found.ledger != FORMAT:
            raise LedgerError("it is an export of another version of Swarm", damaged=True)
        return found


def _row(line: bytes, number: int) -> Row:
    text = line.removesuffix(b"\n")
    link = text[_LINK].decode("ascii", "replace")
    if not is_link(link) or text != b"".join((_START, text[_LINK], _MIDDLE, text[_RECORD], _END)):
        raise LedgerError(f"line {number + 1} is not written as Swarm writes it", damaged=True)
    return Row(number, link, text[_RECORD])


def open_source(path: Path) -> Source:
    """The ledger in a file: a database, or an export.

    Raises:
        LedgerError: it is neither, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_SQLITE))
    except OSError as error:
        raise LedgerError(str(error)) from error
    return DatabaseSource(path) if start == _SQLITE else ExportSource(path)


def export_lines(source: DatabaseSource) -> Iterator[bytes]:
    """The lines of an export, with their ends.

    Raises:
        LedgerError: the database cannot be read.
    """
    with open_database(source.path) as database:
        end = database.end()
        start = ExportStart(FORMAT, source.session, source.peer, end.count, end.link, source.head)
        yield encoding.encode(start) + b"\n"
        for row in database.rows():
            if row.number > end.count:
                break
            yield b"".join((_START, row.link.encode(), _MIDDLE, row.content, _END, b"\n"))

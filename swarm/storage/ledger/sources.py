"""What a ledger is checked and shown from: its database with the files beside it, or an export of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swarm.errors import LedgerError, UnreadableFileError
from swarm.storage.files import FINAL, read_about
from swarm.storage.ledger.base import Head
from swarm.storage.ledger.database import Row, open_database
from swarm.storage.ledger.files import KEPT
from swarm.storage.ledger.head import HEAD, SignedHead, read_head
from swarm.storage.places import STATE

if TYPE_CHECKING:
    from swarm.records import PeerId


@dataclass(frozen=True, slots=True)
class Noted:
    """What another place than the rows says about how far the ledger went."""

    where: str
    """As the subject of a sentence."""
    head: Head | None
    """None: what was there is missing or damaged."""


class Source(ABC):
    """The rows of one ledger, in their order, and what else is known of it. ``str()`` gives the place."""

    session: str
    peer: PeerId
    count: int
    """Of the records; a running process may add more."""
    head: SignedHead | None = None
    """None: it is missing or damaged."""
    noted: tuple[Noted, ...] = ()
    """What other places say."""
    closed: tuple[str, str] | None = None
    """The file of the closing model that lies with the ledger, and the hash of the record that it names."""

    def __init__(self, path: Path) -> None:
        """Of the file at ``path``."""
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    @abstractmethod
    def rows(self, after: int = 0, round_: int | None = None) -> Iterator[Row]:
        """The rows after the one with the number ``after``, with ``round_`` only those of it; nothing is checked.

        Raises:
            LedgerError: they cannot be read.
        """

    def damage(self) -> Iterator[str]:
        """What is wrong with the file itself, as sentences.

        Raises:
            LedgerError: it cannot be read.
        """
        return iter(())


class DatabaseSource(Source):
    """The database of a ledger, also while its process writes it."""

    def __init__(self, path: Path) -> None:
        """Open it, and read the files beside it.

        Raises:
            LedgerError: it is no ledger, or cannot be read.
        """
        super().__init__(path)
        try:
            # Before any row is read, as it is written after the rows.
            self.head = read_head(path.with_name(HEAD))
        except LedgerError:
            self.head = None
        self.noted = (*_in_checkpoints(path.parent), *_kept(path.parent))
        with open_database(path) as database:
            self.session, self.peer, self.count = database.session, database.peer, database.end().count
        self.closed = _closed_with(path, self.session)

    def rows(self, after: int = 0, round_: int | None = None) -> Iterator[Row]:
        with open_database(self.path) as database:
            yield from database.rows(after, round_)

    def damage(self) -> Iterator[str]:
        with open_database(self.path) as database:
            yield from database.damage()


def _in_checkpoints(directory: Path) -> Iterator[Noted]:
    for path in sorted(directory.glob("*.safetensors")):
        try:
            head = Head.of_metadata(read_about(path))
        except UnreadableFileError:
            continue  # a run that resumes tells of it
        if head:
            yield Noted(f"the checkpoint {path.name}", head)


def _kept(directory: Path) -> Iterator[Noted]:
    """What did not agree when a run started."""
    for path in sorted(directory.glob(f"{KEPT}*.head")):
        try:
            found = read_head(path)
        except LedgerError:
            found = None
        yield Noted(f"the head of an earlier run, {path.name},", found.head if found else None)
    for path in sorted(directory.glob(f"{KEPT}*.sqlite")):
        yield Noted(f"the damaged ledger of an earlier run, {path.name},", None)


def _closed_with(path: Path, session: str) -> tuple[str, str] | None:
    """The closing model of a session in the model directory, if it is there, with its record."""
    parents = (path if len(path.parents) > 3 else path.absolute()).parents
    if len(parents) < 4 or parents[2].name != STATE:
        return None
    final = parents[3] / FINAL
    try:
        about = read_about(final)
    except UnreadableFileError:
        return None
    return (str(final), about["record"]) if about.get("session") == session and "record" in about else None

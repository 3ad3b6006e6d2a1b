"""The files of a ledger that is written: one live process at a time has them.

What does not agree with its head when a run starts is kept under another name, where ``swarm ledger verify`` finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from swarm.errors import LedgerError
from swarm.limits import MAX_TEXT
from swarm.storage.files import replace_file
from swarm.storage.ledger.base import Head
from swarm.storage.ledger.database import Database, create_database
from swarm.storage.ledger.head import HEAD, MOST_SETTINGS, read_head, signed, write_head
from swarm.storage.locks import FileLock

if TYPE_CHECKING:
    from pathlib import Path

    from swarm.certification.keys import Signer
    from swarm.records import Commit, Credential

DATABASE = "ledger.sqlite"
"""The name of its file."""
KEPT = "ledger-kept-"
"""Before a number, in the names of files that did not agree with one another when a run started."""
_OF_DATABASE = ("", "-wal", "-shm", "-journal")
"""The ends of the names of a database's files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose ledger it is, and the key of its process, which signs the head."""

    session: str
    signer: Signer
    credential: Credential
    """Of that key; it names the peer."""
    settings: str = ""
    """The text whose SHA-256 is ``settings`` in the records of its rounds; empty if it is not known."""


class LedgerFiles:
    """A database and its head, open to be written by the thread that has opened them."""

    def __init__(self, directory: Path, owner: Owner, warn: Callable[[str], None]) -> None:
        """Open them, or make them.

        Args:
            directory: of the peer in its session.
            owner: whose they are.
            warn: is told of what did not agree.

        Raises:
            OSError: they cannot be written.
            LedgerError: they cannot be written, or another live process has them.
        """
        self._directory = directory
        self._owner = owner
        self._warn = warn
        self._settings = (owner.settings,) if 0 < len(owner.settings) <= MAX_TEXT else ()
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(directory / ".ledger.lock")
        if not self._lock.take():
            raise LedgerError("another live run writes it")
        try:
            self._database = self._open()
        except BaseException:
            self._lock.release()
            raise

    def append(self, records: Iterable[Commit]) -> Head:
        """Add records, which are on the disk then; returns how far the ledger goes.

        Raises:
            OSError: the head cannot be written; the records may be there.
            LedgerError: the records cannot be written.
        """
        records = list(records)
        try:
            head = self._database.append(records)
        except LedgerError as error:
            if not error.damaged:
                raise
            self._database.close()
            self._database = self._begin_again(str(error))
            head = self._database.append(records)
        self._sign(head)
        return head

    def close(self) -> None:
        """Let the next process have them."""
        self._database.close()
        with suppress(OSError):
            self._lock.release()

    def _open(self) -> Database:
        path = self._directory / DATABASE
        if not path.exists() and not (self._directory / HEAD).exists():
            self._sign(None)
        try:
            database = create_database(path, self._owner.session, self._owner.credential.peer)
        except LedgerError as error:
            if not error.damaged:
                raise
            return self._begin_again(str(error))
        if reason := self._disagreement(database):
            kept = self._keep(HEAD)
            self._warn(f"{reason}; this is noted in {kept}.head, and the ledger is continued from where it ends")
        return database

    def _begin_again(self, reason: str) -> Database:
        """Keep a damaged database under another name, and begin a new one."""
        kept = self._keep(DATABASE, HEAD)
        self._warn(f"{reason}; it is kept as {kept}.sqlite, and a new one is begun")
        self._sign(None)
        return create_database(self._directory / DATABASE, self._owner.session, self._owner.credential.peer)

    def _sign(self, head: Head | None) -> None:
        """Write the head; None: of an empty ledger."""
        owner = self._owner
        write_head(self._directory / HEAD, signed(owner.session, head, owner.signer, owner.credential, self._settings))

    def _disagreement(self, database: Database) -> str:
        """How the database differs from what its head says; empty if it does not."""
        try:
            found = read_head(self._directory / HEAD)
        except LedgerError as error:
            return f"its head cannot be read: {error}"
        if found is None:
            return "its head is missing, so that records may have been cut off"
        earlier = (text for text in found.settings or () if text not in self._settings)
        self._settings = (*self._settings, *earlier)[:MOST_SETTINGS]
        if database.end_at(found.count) == found.head:
            return ""
        return f"it has not the {found.count} records that its head counts, or others: some were cut off or changed"

    def _keep(self, *names: str) -> str:
        """Rename files; returns what their names begin with. Of a head that is missing an empty file is kept."""
        taken = [path.name for path in self._directory.glob(f"{KEPT}*")]
        numbered = (f"{KEPT}{number}" for number in count(1))
        kept = next(name for name in numbered if not any(each.startswith(f"{name}.") for each in taken))
        for name in names:
            for end in _OF_DATABASE:
                path = self._directory / f"{name}{end}"
                target = self._directory / f"{kept}.{name.rpartition('.')[2]}{end}"
                if path.exists():
                    path.replace(target)
                elif path.name == HEAD:
                    replace_file(target)
        return kept

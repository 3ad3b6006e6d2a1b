"""A ledger on disk. A thread of its own writes it: a disk that is full or hangs stops neither rounds nor training."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from swarm.certification.encoding import decode_record, encode_record
from swarm.certification.statements import record_hash
from swarm.errors import LedgerError
from swarm.storage.ledger.base import Head, Ledger
from swarm.storage.ledger.database import Span, open_database
from swarm.storage.ledger.files import DATABASE, LedgerFiles
from swarm.storage.ledger.memory import MemoryLedger
from swarm.storage.places import state_directory

if TYPE_CHECKING:
    from pathlib import Path

    from swarm.config import Settings
    from swarm.executor import Executor, Task
    from swarm.records import Commit
    from swarm.storage.ledger.files import Owner

NEWEST = 128
"""Records that are kept in memory too, for the worker, which must not wait for a disk."""
BATCH = 1024
"""Records in one transaction."""


class StoredLedger(Ledger):
    """Records that wait for the disk are kept in memory, and given from there. ``str()`` gives the place."""

    def __init__(self, directory: Path, owner: Owner, *, executor: Executor, logger: logging.Logger) -> None:
        """Nothing is written before the first ``append``.

        Args:
            directory: of the peer in its session.
            owner: whose ledger it is.
            executor: runs the thread that writes.
            logger: is told once that the disk fails.
        """
        self._directory = directory
        self._path = directory / DATABASE
        self._owner = owner
        self._executor = executor
        self._log = logger
        self._changed = executor.condition()
        self._waiting: dict[str, Commit] = {}
        """Records that are not on the disk yet, by their hash, in order."""
        self._newest: dict[str, Commit] = {}
        """The last ones that are."""
        self._appended = 0
        """How often something was appended."""
        self._head: Head | None = None
        self._closed = False
        self._failure = ""
        """Why the last attempt to write failed; empty if it did not."""
        self._unreadable = False
        self._task: Task | None = None
        self._remember(self._tail())

    def __str__(self) -> str:
        return str(self._path)

    def append(self, records: Iterable[Commit]) -> None:
        named = {record_hash(record): record for record in records}
        with self._changed:
            new = [name for name in named if name not in self._newest]
            if not new:
                return
            for name in new:
                self._waiting.setdefault(name, named[name])
            self._appended += 1
            if self._task is None:
                self._task = self._executor.start("swarm-ledger", self._run)
            self._changed.notify_all()

    def get(self, record: str) -> Commit | None:
        with self._changed:
            found = self._waiting.get(record) or self._newest.get(record)
        if found or not self._there():
            return found
        try:
            with open_database(self._path) as database:
                content = database.content(record)
            found = None if content is None else decode_record(content)
        except (LedgerError, ValueError) as error:
            level, self._unreadable = logging.DEBUG if self._unreadable else logging.ERROR, True
            self._log.log(level, "ledger %s cannot be read: %s", self, error)
            return None
        return found if found and record_hash(found) == record else None

    def chain(self, record: str, after: str = "") -> Iterator[bytes]:
        waiting: list[Commit] = []
        with self._changed:
            # First those that are not on the disk: what is written meanwhile is then found there or here.
            while record != after and (found := self._waiting.get(record)):
                waiting.append(found)
                record = found.previous
        return self._contents(record, after, waiting[::-1])

    def _contents(self, record: str, after: str, waiting: list[Commit]) -> Iterator[bytes]:
        spans: list[Span] = []
        if record not in {"", after}:
            if not self._there():
                return
            with open_database(self._path) as database:
                spans = database.spans(record, after)
            if not spans:
                return
        for span in spans:
            reached = span.after
            while reached < span.last:
                # A connection for each page: whoever takes the records may stop, or fork, at any time.
                with open_database(self._path) as database:
                    page = database.page(replace(span, after=reached))
                if not page:
                    raise LedgerError(f"records after row {reached} are gone")
                yield from (row.content for row in page)
                reached = page[-1].number
        yield from map(encode_record, waiting)

    def stored(self, record: str, patience: float) -> Head | None:
        with self._changed:
            self._changed.wait_for(lambda: record not in self._waiting or bool(self._failure), patience)
            return self._head

    def close(self, timeout: float) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._task is None:
            return
        self._task.join(timeout)
        hangs, lost = self._task.is_alive(), len(self._waiting)
        if lost and hangs:
            text = "%d records were not written to ledger %s within %.0f s: does the disk hang?"
            self._log.error(text, lost, self, timeout)
        elif lost:
            text = "%d records of ledger %s are lost, though other sites may have them; the last attempt to write: %s"
            self._log.error(text, lost, self, self._failure)

    def _there(self) -> bool:
        """Whether there is a file to read."""
        try:
            return self._path.exists()
        except OSError:  # it may not be looked at
            return False

    # The thread that writes ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        # The connection is known to this frame only: a forked child has not this thread, and never closes it.
        files: LedgerFiles | None = None
        tried = 0
        while not (self._closed and self._appended == tried):
            tried = self._next(tried)
            files = self._write(files)
        if files:
            files.close()

    def _next(self, tried: int) -> int:
        """Wait until more was appended than at an attempt to write, or the ledger is closed; how much it is now."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._appended > tried)
            return self._appended

    def _write(self, files: LedgerFiles | None) -> LedgerFiles | None:
        """Write all that waits; returns the files, or None if that failed and they have to be opened again."""
        while True:
            with self._changed:
                batch = dict(islice(self._waiting.items(), BATCH))
            if not batch:
                return files
            try:
                files = files or LedgerFiles(self._directory, self._owner, self._warn)
                head = files.append(batch.values())
            except (OSError, LedgerError) as error:
                self._fail(error)
                if files:
                    files.close()
                return None
            with self._changed:
                for name in batch:
                    del self._waiting[name]
                self._remember(batch)
                self._head, self._failure = head, ""
                self._changed.notify_all()

    def _fail(self, error: Exception) -> None:
        level = logging.DEBUG if self._failure else logging.ERROR
        text = "%d records were not written to ledger %s, and are kept in memory until they can be: %s"
        self._log.log(level, text, len(self._waiting), self, error)
        with self._changed:
            self._failure = str(error) or type(error).__name__
            self._changed.notify_all()

    def _warn(self, reason: str) -> None:
        self._log.warning("ledger %s: %s", self, reason)

    def _remember(self, records: dict[str, Commit]) -> None:
        self._newest |= records
        for name in [*islice(self._newest, max(len(self._newest) - NEWEST, 0))]:
            del self._newest[name]

    def _tail(self) -> dict[str, Commit]:
        """The last records of an earlier run."""
        if not self._there():
            return {}
        try:
            with open_database(self._path) as database:
                rows = list(database.rows(database.end().count - NEWEST))
            records = [decode_record(row.content) for row in rows]
        except (LedgerError, ValueError) as error:
            self._log.warning("ledger %s cannot be read: %s", self, error)
            return {}
        return {record_hash(record): record for record in records}


def ledger_of(settings: Settings, owner: Owner, executor: Executor, logger: logging.Logger) -> Ledger:
    """The ledger of a peer with these settings; without a model directory it ends with the process."""
    if settings.model_dir is None:
        return MemoryLedger()
    return StoredLedger(state_directory(settings), owner, executor=executor, logger=logger)

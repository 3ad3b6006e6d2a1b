"""A ledger that ends with the process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from swarm.certification.encoding import encode_record
from swarm.certification.statements import record_hash
from swarm.storage.ledger.base import Ledger

if TYPE_CHECKING:
    from swarm.records import Commit


class MemoryLedger(Ledger):
    """Keeps its records as long as the process."""

    def __init__(self) -> None:
        """There are no records yet."""
        self._records: dict[str, Commit] = {}

    def append(self, records: Iterable[Commit]) -> None:
        for record in records:
            self._records.setdefault(record_hash(record), record)

    def get(self, record: str) -> Commit | None:
        return self._records.get(record)

    def chain(self, record: str, after: str = "") -> Iterator[bytes]:
        names: list[str] = []
        while record and record != after:
            found = self._records.get(record)
            if found is None:
                return iter(())
            names.append(record)
            record = found.previous
        return (encode_record(self._records[name]) for name in reversed(names))

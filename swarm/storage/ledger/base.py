"""What every ledger can do, and how its rows are chained."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swarm.certification.statements import canonical

if TYPE_CHECKING:
    from swarm.records import Commit, PeerId

FORMAT = 1
"""The version of the rows, of the head and of exports."""
_HASH = re.compile(r"[0-9a-f]{64}")
_COUNT, _LINK = "ledger_count", "ledger_link"
"""The names of a head in the metadata of a model file."""


@dataclass(frozen=True, slots=True)
class Head:
    """How far a ledger goes: the tail of a chain can be cut off without a trace in the chain itself."""

    count: int
    """Number of records."""
    link: str
    """The link of the last one, as 64 hexadecimal digits."""

    def metadata(self) -> dict[str, str]:
        """For a model file."""
        return {_COUNT: str(self.count), _LINK: self.link}

    @classmethod
    def of_metadata(cls, about: Mapping[str, str]) -> Head | None:
        """The head in the metadata of a model file; None if it has none."""
        count, link = about.get(_COUNT, ""), about.get(_LINK, "")
        return cls(int(count), link) if count.isascii() and count.isdecimal() and len(count) < 19 else None


class Ledger(ABC):
    """The records that one peer knows to be true, in one session. Safe for any thread."""

    @abstractmethod
    def append(self, records: Iterable[Commit]) -> None:
        """Add records that were verified, each after the one that it follows; those that are there are skipped.

        Returns at once.
        """

    @abstractmethod
    def get(self, record: str) -> Commit | None:
        """The record with this hash; None if it is not there. Of the newest ones it is there at once."""

    @abstractmethod
    def chain(self, record: str, after: str = "") -> Iterator[bytes]:
        """The records up to the one with the hash ``record``, as ``encode_record`` gives them, the oldest first.

        Those after ``after`` if that is among them, else all. Few are in memory at a time. There are none if ``record``
        is not here, or one that it comes from.

        Raises:
            LedgerError: while the records are taken: the file cannot be read.
        """

    def stored(self, record: str, patience: float) -> Head | None:
        """Wait until the record with this hash is stored, for at most ``patience`` seconds.

        Returns:
            How far the ledger is stored; None if it ends with the process.
        """
        return None

    def close(self, timeout: float) -> None:  # noqa: B027 - nothing to do where it ends with the process
        """Store what is not stored yet, for at most ``timeout`` seconds; log an error if that is too short."""


def first_link(session: str, peer: PeerId) -> str:
    """What the first row of a ledger is linked to."""
    return hashlib.sha256(canonical(["ledger", FORMAT, session, peer])).hexdigest()


def is_link(text: str) -> bool:
    """Whether ``text`` can be a link."""
    return _HASH.fullmatch(text) is not None


def next_link(link: str, content: bytes) -> str:
    """The link of a row.

    Args:
        link: of the row before it.
        content: its record and certificate, as ``encode_record`` gives them.
    """
    return hashlib.sha256(bytes.fromhex(link) + content).hexdigest()

"""Records of how the sessions of local peers ended. Each peer writes one, and ``swarm up`` reads them."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from swarm.discovery.directory import MAX_FILES, read_record, stem
from swarm.text import MAX_SHOWN, printable

DIRECTORY = "sessions"
"""Subdirectory of the rendezvous directory. The launcher creates it; without it no record is written."""

STATISTICS = ".pool"
"""Ends the name of a session that gathers statistics (``swarm.pool``): it has no model that is a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """The latest run of one session on one peer. If the process is killed, ``ended`` remains False."""

    rank: int
    session: str
    run: int = 1
    """Number of runs of this session: a script may train several times, or repeat a failed start."""
    joined: bool = False
    """Whether the peer has joined the session."""
    ended: bool = False
    """Whether the peer has left the session, for any reason."""
    closing: bool = False
    """Whether it has the closing model."""
    reason: str = ""
    """Why it does not have the closing model."""
    round: int | None = None
    """Of the last committed model that was applied."""
    digest: str = ""
    """Of that model."""
    epoch: int = 0
    """Completed epochs."""
    total_epochs: int | None = None
    file: str = ""
    """Path of the closing model, if it was written."""
    bytes_sent: int = 0
    """Total of all runs."""
    bytes_received: int = 0


def write_record(rendezvous: Path, record: SessionRecord) -> None:
    """Write a record, replacing the peer's earlier record of this session. Never raises."""
    path = _path(rendezvous, record.rank, record.session)
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    with suppress(OSError):
        if path.parent.is_dir():
            text = json.dumps(asdict(record), ensure_ascii=False)
            # A path may hold a lone surrogate; its escape is the same in JSON.
            draft.write_text(text, encoding="utf-8", errors="backslashreplace")
            draft.replace(path)


def record_of(rendezvous: Path, rank: int, session: str) -> SessionRecord | None:
    """The record of one peer's session; None if there is none."""
    return _read(_path(rendezvous, rank, session))


def read_records(rendezvous: Path) -> list[SessionRecord]:
    """All records, by rank and session. Other files are skipped."""
    try:
        paths = sorted((rendezvous / DIRECTORY).glob("*.json"))[:MAX_FILES]
    except OSError:
        return []
    found = [record for path in paths if (record := _read(path))]
    return sorted(found, key=lambda record: (record.rank, record.session))


def _path(rendezvous: Path, rank: int, session: str) -> Path:
    return rendezvous / DIRECTORY / f"{stem(session, str(rank))}.json"


def _read(path: Path) -> SessionRecord | None:
    values = read_record(path)
    if values is None or values.keys() != _TYPES.keys():
        return None
    if any(type(values[name]) not in types for name, types in _TYPES.items()):
        return None
    values = {name: printable(value, MAX_SHOWN) if isinstance(value, str) else value for name, value in values.items()}
    return SessionRecord(**values)


_HINTS: dict[str, Any] = get_type_hints(SessionRecord)
_TYPES: dict[str, tuple[type, ...]] = {
    field.name: (int, NoneType) if NoneType in get_args(_HINTS[field.name]) else (_HINTS[field.name],)
    for field in fields(SessionRecord)
}

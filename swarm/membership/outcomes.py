"""What the sessions of local peers came to, left where ``swarm up`` reads it when their processes have ended."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from swarm.membership.directory import MAX_FILES, read_record
from swarm.text import MAX_SHOWN, printable

DIRECTORY = "outcomes"
"""Folder of the rendezvous directory; the launcher makes it, and without it nothing is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOutcome:
    """How one session of one peer stands; the last record of a process that was killed says that it did not end."""

    rank: int
    session: str
    ended: bool = False
    """Whether the peer has left the session, in whatever way."""
    closing: bool = False
    """Whether it holds the closing model."""
    reason: str = ""
    """Why it does not."""
    round: int | None = None
    """Of the last committed model that was applied."""
    digest: str = ""
    """Of that model."""
    file: str = ""
    """Where the closing model is, if it was written."""
    bytes_sent: int = 0
    bytes_received: int = 0


def leave(rendezvous: Path, key: str, outcome: SessionOutcome) -> None:
    """Write down how a session stands, in place of what was left under ``key`` before. Never raises."""
    folder = rendezvous / DIRECTORY
    draft = folder / f"{key}.{os.getpid()}.tmp"
    with suppress(OSError):
        if folder.is_dir():
            draft.write_text(json.dumps(asdict(outcome), ensure_ascii=False), encoding="utf-8")
            draft.replace(folder / f"{key}.json")


def outcomes(rendezvous: Path) -> list[SessionOutcome]:
    """What peers have left, by rank and session; files that are no outcomes are passed over."""
    try:
        paths = sorted((rendezvous / DIRECTORY).glob("*.json"))[:MAX_FILES]
    except OSError:
        return []
    found = [outcome for path in paths if (outcome := _outcome(path))]
    return sorted(found, key=lambda outcome: (outcome.rank, outcome.session))


def _outcome(path: Path) -> SessionOutcome | None:
    record = read_record(path)
    if record is None or record.keys() != _TYPES.keys():
        return None
    if any(type(record[name]) not in types for name, types in _TYPES.items()):
        return None
    values: dict[str, Any] = {
        name: printable(value, MAX_SHOWN) if isinstance(value, str) else value for name, value in record.items()
    }
    return SessionOutcome(**values)


_HINTS = get_type_hints(SessionOutcome)
_TYPES: dict[str, tuple[type, ...]] = {
    field.name: (int, NoneType) if NoneType in get_args(_HINTS[field.name]) else (_HINTS[field.name],)
    for field in fields(SessionOutcome)
}

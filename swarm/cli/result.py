"""The line that says which files are the result of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from swarm.storage.files import SITE
from swarm.storage.session_records import STATISTICS, SessionRecord

_SHOWN = 12
"""Characters of a digest."""
_PEER = "peer-"


def result_lines(records: Sequence[SessionRecord]) -> list[str]:
    """A line for each session in which all peers have the same closing model."""
    several = len({each.session for each in _of_models(records)}) > 1
    return [_line(found, several=several) for found in _agreed(records)]


def results(records: Sequence[SessionRecord]) -> list[dict[str, Any]]:
    """The same for a JSON document."""
    return [
        {
            "session": found[0].session,
            "files": [each.file for each in found if each.file],
            "rounds": found[0].round,
            "digest": found[0].digest,
        }
        for found in _agreed(records)
    ]


def _agreed(records: Sequence[SessionRecord]) -> list[list[SessionRecord]]:
    """The records of each session of which all have one closing model, by name."""
    sessions: dict[str, list[SessionRecord]] = {}
    for each in sorted(_of_models(records), key=lambda each: (each.session, each.rank)):
        if each.closing:
            sessions.setdefault(each.session, []).append(each)
    return [found for found in sessions.values() if len({each.digest for each in found}) == 1]


def _of_models(records: Sequence[SessionRecord]) -> list[SessionRecord]:
    """Without those of sessions that have gathered statistics for another one."""
    statistics = {each.session + STATISTICS for each in records}
    return [each for each in records if each.session not in statistics]


def _line(found: Sequence[SessionRecord], *, several: bool) -> str:
    first = found[0]
    files = pattern([each.file for each in found if each.file])
    of = f" of session {first.session}" if several else ""
    run = f" of run {first.run}" if first.run > 1 else ""
    # A site's own file has its own statistics, and so another digest than the model of all.
    whose = "digest of the closing model" if files.endswith(SITE) else "digest"
    rounds = f"{first.round or 0} rounds{run}, {whose} {first.digest[:_SHOWN]}…"
    return f"RESULT{of} {files}, {rounds}" if files else f"RESULT{of} in no file (--model-dir makes one), {rounds}"


def pattern(files: Iterable[str]) -> str:
    """One pattern of a shell that matches all files, relative to the working directory where they are below it."""
    names = [_relative(Path(file)) for file in files]
    if not names:
        return ""
    parts = [name.parts for name in names]
    if len({len(each) for each in parts}) > 1:
        return ", ".join(str(name) for name in names)
    return str(Path(*(_common(values) for values in zip(*parts, strict=True))))


def _common(values: Sequence[str]) -> str:
    if len(set(values)) == 1:
        return values[0]
    return f"{_PEER}*" if all(value.startswith(_PEER) for value in values) else "*"


def _relative(file: Path) -> Path:
    return file.relative_to(Path.cwd()) if file.is_absolute() and file.is_relative_to(Path.cwd()) else file

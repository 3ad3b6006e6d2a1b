"""The reports that peers of this machine write while the live page is shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from swarm.errors import UnreadableFileError
from swarm.report import REPORT, read_report
from swarm.report.content import plain


class Written:
    """Hands out each report once. One that is there already is of an earlier run."""

    def __init__(self, places: Iterable[Path]) -> None:
        """``places`` are model directories: a report is in one, or in a directory of one session below it."""
        self._places = tuple(places)
        self._seen = dict(self._found())

    def new(self) -> list[dict[str, Any]]:
        """The reports that were written since the last call, in JSON types; what cannot be read is left out."""
        found = []
        for path, written in self._found():
            if self._seen.get(path) != written:
                self._seen[path] = written
                try:
                    found.append(plain(read_report(path)))
                except UnreadableFileError:
                    continue
        return found

    def _found(self) -> Iterator[tuple[Path, int]]:
        """Each report, and when it was written, in nanoseconds."""
        for place in self._places:
            for path in (place / REPORT, *sorted(place.glob(f"*/{REPORT}"))):
                try:
                    yield path, path.stat().st_mtime_ns
                except OSError:
                    continue

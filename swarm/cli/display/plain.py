"""Plain lines, for pipes and files."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TextIO

from swarm.cli.display.base import Display, PeerRow, progress, write
from swarm.cli.output import Line

_LEAST_SECONDS_BETWEEN_LINES = 2.0


class Pace:
    """Whether a line about the progress is due: a round is over, and the last such line is some time ago."""

    def __init__(self) -> None:
        self._round = 0
        self._at = float("-inf")

    def due(self, rows: Sequence[PeerRow]) -> bool:
        """Whether to write one now. None comes once a peer has ended: its last status is older than those of others."""
        reached = max((row.view.round for row in rows if row.view), default=0)
        now = time.monotonic()
        if all(row.ended for row in rows) or reached <= self._round or now - self._at < _LEAST_SECONDS_BETWEEN_LINES:
            return False
        self._round, self._at = reached, now
        return True


class PlainDisplay(Display):
    """Plain text: all that peers write, and one line on standard error per round."""

    def __init__(self, width: int, out: TextIO | None = None) -> None:
        self._width = width
        self._out = out or sys.stdout
        self._pace = Pace()

    def line(self, line: Line) -> None:
        write(sys.stderr if line.is_error else self._out, f"{line.name:<{self._width}} | {line.text}")

    def note(self, text: str) -> None:
        write(sys.stderr, f"{'swarm':<{self._width}} | {text}")

    def update(self, rows: Sequence[PeerRow]) -> None:
        if self._pace.due(rows):
            self.note(progress(rows))

"""The calm view of a terminal: a table of the peers that changes in place, and above it only what matters."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from swarm.cli.display.base import Display, PeerRow, write
from swarm.cli.display.logfile import LogFile
from swarm.cli.display.peers import LossHistory, live_table
from swarm.cli.output import Kind, Line
from swarm.cli.table import colour

_OTHER_ROWS = 6
"""Rows of a terminal that are left for all but the peers."""
_LEAST_ROWS = 4


class LiveDisplay(Display):
    """What scripts print and warnings of the log go above the table; all that peers write goes to the log file."""

    def __init__(self, width: int, console: Console, log: LogFile, *, verbose: bool = False) -> None:
        """Nothing is shown yet.

        Args:
            width: of the names.
            console: the terminal.
            log: gets everything.
            verbose: the terminal shows the whole log too.
        """
        self._width = width
        self._console = console
        self._file = log
        self.log = log.path
        self._verbose = verbose
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._rows: Sequence[PeerRow] = ()
        self._history = LossHistory()
        self._event = ""
        self._shown: tuple[object, ...] = ()
        self._told: set[str] = set()
        """Warnings that the terminal has shown: those of several peers are often the same."""
        self._warned = False

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._event = ""
        with contextlib.suppress(OSError):
            self._draw()
            self._live.stop()
        self._file.close()

    def line(self, line: Line) -> None:
        self._file.write(f"{line.name:<{self._width}} | {line.text}")
        if self._file.problem and not self._warned:
            self._warned = True
            self.note(self._file.problem)
        if self._verbose or line.kind is Kind.OWN:
            self._print(line)
        elif line.log and line.log.is_problem:
            if line.log.text not in self._told:
                self._told.add(line.log.text)
                self._say(line.name, line.rank, Text(f"{line.log.level}: {line.log.text}", style="yellow"))
        elif line.log and line.log.level == "info":
            self._event = f"{line.name}: {line.log.text}"

    def note(self, text: str) -> None:
        self._file.write(f"{'swarm':<{self._width}} | {text}")
        self._console.print(Text(f"{'swarm':<{self._width}} | {text}", style="bold"), soft_wrap=True)

    def trace(self, name: str, rank: int, traceback: Sequence[str]) -> None:
        if not self._verbose:
            for text in traceback:
                self._say(name, rank, Text(text, style="dim"))

    def update(self, rows: Sequence[PeerRow]) -> None:
        self._rows = rows
        self._history.note(rows)
        if (tuple(rows), self._event) != self._shown:
            self._draw()

    def _draw(self) -> None:
        self._shown = (tuple(self._rows), self._event)
        most = max(self._console.height - _OTHER_ROWS, _LEAST_ROWS)
        parts = [live_table(self._rows, self._history, self._console.width, most)]
        last = Text(self._event, style="dim", no_wrap=True, overflow="ellipsis")
        self._live.update(Group(*parts, last) if self._event else Group(*parts), refresh=True)

    def _print(self, line: Line) -> None:
        if not line.is_error and not sys.stdout.isatty():
            write(sys.stdout, f"{line.name:<{self._width}} | {line.text}")
        else:
            self._say(line.name, line.rank, Text.from_ansi(line.text))

    def _say(self, name: str, rank: int, text: Text) -> None:
        prefix = (f"{name:<{self._width}} | ", colour(rank))
        self._console.print(Text.assemble(prefix, text), soft_wrap=True)

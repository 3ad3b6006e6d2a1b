"""The output of ``swarm up`` while peers run: their lines, and their status."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from swarm.cli.answers import PeerView
from swarm.cli.table import colour, epochs, peer_table, size
from swarm.clock import duration

_LEAST_SECONDS_BETWEEN_LINES = 2.0
_SECONDS_OF_SILENCE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRow:
    """The displayed data of one local peer."""

    name: str
    rank: int
    ended: bool = False
    problem: str = ""
    """Exit code of a failed peer, or "stopped"; empty otherwise."""
    view: PeerView | None = None
    """Its last status."""
    silent_for: int = 0
    """Whole seconds since its last status."""

    @property
    def state(self) -> str:
        """Its state in one or two words."""
        if self.problem:
            return self.problem if self.problem == "stopped" else f"failed ({self.problem})"
        if self.ended:
            return "done"
        if self.silent_for >= _SECONDS_OF_SILENCE:
            return f"silent for {self.silent_for} s"
        return self.view.status if self.view and self.view.status else "running"


class Display(ABC):
    """The output of the launcher. Every method raises ``OSError`` if the output cannot be written any more."""

    @abstractmethod
    def line(self, name: str, rank: int, text: str, *, is_error: bool) -> None:
        """Show a line that a peer wrote to its standard output or error."""

    @abstractmethod
    def note(self, text: str) -> None:
        """Show one sentence of the launcher."""

    @abstractmethod
    def update(self, rows: Sequence[PeerRow]) -> None:
        """Show the current state of the peers; called several times per second."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class PlainDisplay(Display):
    """Plain text for pipes and files: the output of peers, and one line on standard error per round."""

    def __init__(self, width: int, out: TextIO | None = None) -> None:
        self._width = width
        self._out = out or sys.stdout
        self._shown_round = 0
        self._shown_at = float("-inf")

    def line(self, name: str, rank: int, text: str, *, is_error: bool) -> None:
        del rank
        _write(sys.stderr if is_error else self._out, f"{name:<{self._width}} | {text}")

    def note(self, text: str) -> None:
        _write(sys.stderr, f"{'swarm':<{self._width}} | {text}")

    def update(self, rows: Sequence[PeerRow]) -> None:
        reached = max((row.view.round for row in rows if row.view), default=0)
        if reached > self._shown_round and time.monotonic() - self._shown_at >= _LEAST_SECONDS_BETWEEN_LINES:
            self._shown_round = reached
            self._shown_at = time.monotonic()
            self.note(progress(rows))


class LiveDisplay(Display):
    """A terminal: output with coloured prefixes, and below it a live table of the peers."""

    def __init__(self, width: int, console: Console) -> None:
        self._width = width
        self._console = console
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._rows: Sequence[PeerRow] = ()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._live.stop()

    def line(self, name: str, rank: int, text: str, *, is_error: bool) -> None:
        if not is_error and not sys.stdout.isatty():
            _write(sys.stdout, f"{name:<{self._width}} | {text}")
            return
        prefix = (f"{name:<{self._width}} | ", colour(rank))
        self._console.print(Text.assemble(prefix, Text.from_ansi(text)), soft_wrap=True)

    def note(self, text: str) -> None:
        self._console.print(Text(f"{'swarm':<{self._width}} | {text}", style="bold"), soft_wrap=True)

    def update(self, rows: Sequence[PeerRow]) -> None:
        if rows != self._rows:
            self._rows = rows
            self._live.update(peer_table([(row.name, row.rank, row.state, row.view) for row in rows]), refresh=True)


def progress(rows: Sequence[PeerRow]) -> str:
    """One line with the progress of the peers."""
    views = [row.view for row in rows if row.view]
    running = sum(not row.ended for row in rows)
    parts = [f"round {max((view.round for view in views), default=0)}", f"{running} of {len(rows)} peers running"]
    slowest = max((view for view in views if view.has_end), key=_seconds_left, default=None)
    if slowest:
        parts.append(f"epoch {epochs(slowest)}, ETA {duration(_seconds_left(slowest))}")
    losses = sorted(row.view.loss for row in rows if row.view and row.view.loss is not None and not row.ended)
    if losses:
        low, high = f"{losses[0]:.4g}", f"{losses[-1]:.4g}"
        parts.append(f"loss {low}" if low == high else f"loss {low} to {high}")
    intervals = {view.interval for view in views if view.interval}
    if len(intervals) == 1:
        parts.append(f"interval {intervals.pop()}")
    parts.append(f"{size(sum(view.bytes_sent for view in views))} sent")
    return ", ".join(parts)


def _seconds_left(view: PeerView) -> float:
    return view.seconds_left or 0.0


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except BrokenPipeError:
        # the rest of the buffer would raise again when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise


def choose(names: Sequence[str], *, table: bool, json_output: bool) -> Display:
    """A live table if standard error is a terminal and ``table`` is set, else plain text.

    With ``json_output`` the peers' outputs all go to standard error.
    """
    width = max(len(name) for name in (*names, "swarm"))
    console = Console(stderr=True, highlight=False)
    if table and not json_output and sys.stderr.isatty() and not console.is_dumb_terminal:
        return LiveDisplay(width, console)
    return PlainDisplay(width, sys.stderr if json_output else sys.stdout)

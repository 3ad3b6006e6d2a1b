"""The output of ``swarm up`` while peers run: their lines, and their status."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TextIO

from swarm.cli.answers import PeerView
from swarm.cli.output import Line
from swarm.cli.table import epochs
from swarm.clock import duration
from swarm.text import size

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

    log: Path | None = None
    """The file with all that the peers have written, where the screen does not show all of it."""

    @abstractmethod
    def line(self, line: Line) -> None:
        """Show a line that a peer wrote to its standard output or error."""

    @abstractmethod
    def note(self, text: str) -> None:
        """Show one sentence of the launcher."""

    @abstractmethod
    def update(self, rows: Sequence[PeerRow]) -> None:
        """Show the current state of the peers; called several times per second."""

    def trace(self, name: str, rank: int, traceback: Sequence[str]) -> None:
        """Show why a peer has failed, unless its lines have shown it."""
        del name, rank, traceback

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


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


def write(stream: TextIO, text: str) -> None:
    """Write a line at once.

    Raises:
        OSError: nobody reads it any more, or it cannot be written.
    """
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except BrokenPipeError:
        # the rest of the buffer would raise again when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise

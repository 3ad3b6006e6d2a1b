"""The table of the calm view: how far each peer is from its next merge, and how its loss has changed."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from swarm.cli.answers import PeerView
from swarm.cli.display.base import PeerRow
from swarm.cli.table import colour, epochs
from swarm.clock import duration
from swarm.peer.states import AT_A_SYNC_POINT
from swarm.text import size

if TYPE_CHECKING:
    from rich.console import JustifyMethod, RenderableType

_LEVELS = "▁▂▃▄▅▆▇█"
_POINTS = 12
"""Losses in a sparkline."""
_BAR = 12
"""Characters of a bar."""


class LossHistory:
    """The last losses of each peer, one for each round."""

    def __init__(self) -> None:
        self._losses: dict[str, deque[float]] = {}
        self._rounds: dict[str, int] = {}

    def note(self, rows: Sequence[PeerRow]) -> None:
        """Take the losses of new rounds."""
        for row in rows:
            view = row.view
            if view is None or view.loss is None or not math.isfinite(view.loss):
                continue
            if view.round > self._rounds.get(row.name, 0):
                self._rounds[row.name] = view.round
                self._losses.setdefault(row.name, deque(maxlen=_POINTS)).append(view.loss)

    def sparkline(self, name: str) -> str:
        """The losses as bars, the newest last; empty with fewer than two."""
        losses = self._losses.get(name, ())
        return sparkline(losses) if len(losses) > 1 else ""


def sparkline(values: Sequence[float]) -> str:
    """Finite values as bars of different heights, from the lowest to the highest."""
    low, high = min(values), max(values)
    scale = (len(_LEVELS) - 1) / (high - low) if high > low else 0.0
    return "".join(_LEVELS[round((value - low) * scale)] for value in values)


@dataclass(frozen=True, slots=True)
class _Column:
    """One column: what it shows, and from which width of the terminal on there is room for it."""

    title: str
    cell: Callable[[PeerRow, LossHistory], RenderableType]
    width: int = 0
    """Characters of the terminal."""
    least: int | None = None
    """Characters of the column itself."""
    right: bool = True


def live_table(rows: Sequence[PeerRow], history: LossHistory, width: int, most: int) -> Table:
    """A table with at most ``most`` of the peers, those with problems first, for a terminal of ``width`` columns."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = [column for column in _COLUMNS if width >= column.width]
    for column in columns:
        justify: JustifyMethod = "right" if column.right else "left"
        table.add_column(column.title, justify=justify, no_wrap=True, min_width=column.least)
    shown = sorted(rows, key=lambda row: (not row.problem, row.ended, row.rank))[:most]
    for row in sorted(shown, key=lambda row: row.rank):
        table.add_row(*(column.cell(row, history) for column in columns))
    if len(rows) > len(shown):
        table.add_row(Text(f"{len(rows) - len(shown)} more", style="dim"))
    return table


def _state(row: PeerRow) -> Text:
    return Text(row.state, style="red" if row.problem else "dim" if row.ended else "")


def _done(row: PeerRow) -> int | None:
    """Batches since the last merge; None if not known. During a merge, all of them."""
    view = row.view
    if view is None or row.ended or view.batches_left is None or view.batches_left > view.interval:
        return None
    return view.interval if view.status in AT_A_SYNC_POINT else view.interval - view.batches_left


def _bar(row: PeerRow) -> RenderableType:
    done = _done(row)
    return "" if done is None or row.view is None else ProgressBar(row.view.interval, done, width=_BAR)


def _batches(row: PeerRow) -> str:
    done = _done(row)
    return "-" if done is None or row.view is None else f"{done}/{row.view.interval}"


def _of_view(show: Callable[[PeerView], str]) -> Callable[[PeerRow, LossHistory], RenderableType]:
    return lambda row, _: "-" if row.view is None else show(row.view)


_COLUMNS = (
    _Column("peer", lambda row, _: Text(row.name, style=colour(row.rank)), right=False),
    _Column("status", lambda row, _: _state(row), right=False),
    _Column("next merge", lambda row, _: _bar(row), 80, _BAR, right=False),
    _Column("batches", lambda row, _: _batches(row), 64),
    _Column("round", _of_view(lambda view: str(view.round))),
    _Column("epoch", _of_view(lambda view: epochs(view) or "-"), 56),
    _Column("ETA", _of_view(lambda view: duration(view.seconds_left or 0.0) if view.has_end else "-"), 56),
    _Column("loss", _of_view(lambda view: "-" if view.loss is None else f"{view.loss:.4g}")),
    _Column("", lambda row, history: history.sparkline(row.name), 100, _POINTS, right=False),
    _Column("sent", _of_view(lambda view: size(view.bytes_sent)), 72),
)

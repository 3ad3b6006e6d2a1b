"""Tables of peers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from swarm.cli.answers import PeerView
from swarm.clock import duration
from swarm.text import size

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_red", "bright_cyan", "bright_magenta")
_WIDE = 400


def console() -> Console:
    """A console for tables on standard output; in a pipe or file, tables are not limited in width."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)


def colour(rank: int) -> str:
    """The colour of a local peer."""
    return _COLOURS[rank % len(_COLOURS)]


def epochs(view: PeerView) -> str:
    """The completed epochs, such as ``3/10``; empty if unknown. A total that is exceeded is not shown."""
    if view.total_epochs is not None and view.epoch <= view.total_epochs:
        return f"{view.epoch}/{view.total_epochs}"
    return str(view.epoch or "")


def peer_table(peers: Iterable[tuple[str, int, str, PeerView]], width: int = _WIDE) -> Table:
    """A table of (name, rank for the colour, state, view), for so many columns of a terminal.

    An address is shown without the name before it where that is the peer's; a narrow terminal gets less.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = [column for column in _COLUMNS if width >= column.width]
    for title in ("peer", "address", "status"):
        table.add_column(title, no_wrap=True)
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    for name, rank, state, view in peers:
        address = Text(view.address.removeprefix(f"{view.name}@"))
        table.add_row(Text(name, style=colour(rank)), address, Text(state), *(column.cell(view) for column in columns))
    return table


class _Column(NamedTuple):
    title: str
    cell: Callable[[PeerView], str]
    width: int = 0
    """Columns of the terminal from which on there is room for it."""


_COLUMNS = (
    _Column("round", lambda view: str(view.round)),
    _Column("epoch", lambda view: epochs(view) or "-"),
    _Column("ETA", lambda view: duration(view.seconds_left or 0.0) if view.has_end else "-"),
    _Column("loss", lambda view: "-" if view.loss is None else f"{view.loss:.4g}"),
    _Column("interval", lambda view: str(view.interval or "-"), 100),
    _Column("sent", lambda view: size(view.bytes_sent), 76),
    _Column("received", lambda view: size(view.bytes_received), 100),
)

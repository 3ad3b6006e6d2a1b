"""Tables of peers."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from swarm.cli.answers import PeerView
from swarm.clock import duration

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_red", "bright_cyan", "bright_magenta")
_KILO = 1000.0
_WIDE = 400


def console() -> Console:
    """A console for tables on standard output; in a pipe or file, tables are not limited in width."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)


def colour(rank: int) -> str:
    """The colour of a local peer."""
    return _COLOURS[rank % len(_COLOURS)]


def size(count: int) -> str:
    """A readable number of bytes, in powers of 1000."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < _KILO:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= _KILO
    return f"{amount:.1f} TB"


def epochs(view: PeerView) -> str:
    """The completed epochs, such as ``3/10``; empty if unknown. A total that is exceeded is not shown."""
    if view.total_epochs is not None and view.epoch <= view.total_epochs:
        return f"{view.epoch}/{view.total_epochs}"
    return str(view.epoch or "")


def peer_table(peers: Iterable[tuple[str, int, str, PeerView | None]], *, addresses: bool = False) -> Table:
    """A table of (name, rank for the colour, state, view), optionally with the peers' addresses."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = ["peer", *(["address"] if addresses else []), "status"]
    for column in columns:
        table.add_column(column, no_wrap=True)
    for column in ("round", "epoch", "ETA", "loss", "interval", "sent", "received"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, rank, state, view in peers:
        where = [Text(view.address if view else "")] if addresses else []
        table.add_row(Text(name, style=colour(rank)), *where, Text(state), *_numbers(view))
    return table


def _numbers(view: PeerView | None) -> list[str]:
    if view is None:
        return ["-"] * 7
    return [
        str(view.round),
        epochs(view) or "-",
        duration(view.seconds_left or 0.0) if view.has_end else "-",
        "-" if view.loss is None else f"{view.loss:.4g}",
        str(view.interval or "-"),
        size(view.bytes_sent),
        size(view.bytes_received),
    ]

"""What ``swarm up`` shows while peers run: a calm view on a terminal, else the lines that they write."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from swarm.cli.display.base import Display, PeerRow
from swarm.cli.display.jsonlines import JsonDisplay
from swarm.cli.display.live import LiveDisplay
from swarm.cli.display.logfile import LogFile
from swarm.cli.display.plain import PlainDisplay

__all__ = ["Display", "PeerRow", "choose"]


def choose(
    names: Sequence[str],
    *,
    table: bool,
    verbose: bool,
    json_lines: bool,
    json_output: bool,
    log: Path | None,
    append: bool = False,
) -> Display:
    """The calm view if standard error is a terminal and ``table`` is set, else plain lines, or JSON.

    Args:
        names: of the peers.
        table: whether a calm view is wanted.
        verbose: show the log of the peers and their tracebacks too.
        json_lines: whether the log is of JSON lines, so that all else has to be.
        json_output: standard output is for one JSON document, so the peers' outputs all go to standard error.
        log: the file that gets the whole output of the peers where the screen does not; None: a temporary one.
        append: keep what is in the file.
    """
    width = max(len(name) for name in (*names, "swarm"))
    out = sys.stderr if json_output else sys.stdout
    if json_lines:
        return JsonDisplay(out)
    console = Console(stderr=True, highlight=False)
    if table and not json_output and sys.stderr.isatty() and not console.is_dumb_terminal:
        return LiveDisplay(width, console, LogFile(log, append=append), verbose=verbose)
    return PlainDisplay(width, out)

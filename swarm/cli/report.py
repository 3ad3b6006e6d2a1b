"""``swarm report``: show the reports that sites have written at the end of their runs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from swarm.cli import options
from swarm.cli.directories import fallbacks
from swarm.cli.site import configured
from swarm.cli.table import console
from swarm.errors import ConfigurationError
from swarm.report import read_report
from swarm.report.content import PAGE, REPORT, plain
from swarm.report.table import tables

MOST_BELOW = 2
"""Directories between the one that is given and a report: ``m/peer-0/session@peer``."""


def report(
    place: Annotated[
        Path | None,
        typer.Argument(metavar="[PLACE]", help="A report, or a directory with some below it; default: model_dir."),
    ] = None,
    *,
    json_output: options.Json = False,
) -> None:
    """Show what a run gave each site, and what it cost.

    [bold]swarm report out[/]

    The same as a page is in swarm-report.html, beside each report.
    """
    found = _reports(place)
    reports = [(path, read_report(path)) for path in found]
    if json_output:
        typer.echo(json.dumps([plain(each) for _, each in reports], ensure_ascii=False))
        return
    screen = console()
    for number, (path, each) in enumerate(reports):
        if number:
            screen.print()
        screen.print(tables(each))
        screen.print(Text(f"page: {path.with_name(PAGE)}"), soft_wrap=True)


def own_place() -> Path | None:
    """The model directory of this site; None where no setting names one."""
    known = {**fallbacks(os.environ), **configured()}
    return known["model_dir"].value if "model_dir" in known else None


def _reports(place: Path | None) -> list[Path]:
    """The reports at a place.

    Raises:
        ConfigurationError: there are none, or no place is known.
    """
    place = place or own_place()
    if place is None:
        raise ConfigurationError("no model_dir is set: name the directory with the report, as in `swarm report out`")
    if place.is_file():
        return [place]
    levels = ["/".join([*["*"] * depth, REPORT]) for depth in range(MOST_BELOW + 1)]
    found = [path for level in levels for path in sorted(place.glob(level))]
    if not found:
        raise ConfigurationError(
            f"there is no {REPORT} in {place}, nor in the directories below it: peers write one at the end of a run "
            "with a model directory (--model-dir)"
        )
    return found

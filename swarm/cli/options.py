"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from swarm.config import SETTINGS

Command = Annotated[
    list[str], typer.Argument(metavar="-- COMMAND...", help="What each peer runs, such as `python train.py`.")
]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]

Dashboard = Annotated[
    bool, typer.Option("--dashboard", help="Show the swarm on a page for the browser (plugin swarm-dashboard).")
]


def of_setting(setting: str, *flags: str, metavar: str | None = None) -> Any:
    """An option that gives ``setting``; its help is what the table of settings says."""
    text = SETTINGS[setting].plain_meaning
    return typer.Option(*flags, metavar=metavar, help=f"{text[0].upper()}{text[1:]}.")

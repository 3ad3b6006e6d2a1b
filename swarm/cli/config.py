"""``swarm config``: every setting, its value, and where that came from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

import typer
from rich.table import Table
from rich.text import Text

from swarm.cli import options
from swarm.cli.cluster import cluster_of
from swarm.cli.table import console
from swarm.config import resolve
from swarm.config.sources import Value


def config(json_output: options.Json = False) -> None:
    """Print every setting, its value, and where the value comes from.

    The setting x_y is the argument x_y of the callback, else the variable
    SWARM_X_Y, else x_y in the table "swarm" of swarm.toml. In a job of several
    tasks on a cluster, `swarm run` takes some from the scheduler; these are
    shown as well.
    """
    values = resolve(otherwise=cluster_of(os.environ).settings(os.environ, {})).values()
    if json_output:
        typer.echo(json.dumps({name: value._asdict() for name, value in values.items()}, default=str))
    else:
        console().print(_table(values))


def _table(values: Mapping[str, Value]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("setting", "value", "from"):
        table.add_column(column)
    for name, (value, origin) in values.items():
        style = "dim" if origin == "default" else ""
        table.add_row(name, Text(_shown(value)), Text(origin), style=style)
    return table


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(each if isinstance(each, str) else "=".join(each) for each in value) or "-"
    return "-" if value is None else str(value)

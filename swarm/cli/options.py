"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Command = Annotated[
    list[str], typer.Argument(metavar="-- COMMAND...", help="What each peer runs, such as `python train.py`.")
]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]

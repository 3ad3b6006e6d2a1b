"""The ``swarm`` command: its subcommands and its error messages."""

from __future__ import annotations

import os
import traceback
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from swarm import uncaught
from swarm.cli.config import config
from swarm.cli.program import NOT_FOUND
from swarm.cli.run import run
from swarm.cli.status import status
from swarm.cli.stop import stop
from swarm.cli.up import up
from swarm.errors import CommandNotFoundError, ConfigurationError, SwarmError
from swarm.text import printable

_LAZY = {
    "check": "swarm.cli.check",
    "export": "swarm.cli.export",
    "init": "swarm.cli.init",
    "invite": "swarm.cli.invite",
    "join": "swarm.cli.join",
    "members": "swarm.cli.members",
    "renew": "swarm.cli.renew",
    "revoke": "swarm.cli.revoke",
    "sign": "swarm.cli.sign",
    "identities": "swarm.cli.identities",
    "ledger": "swarm.cli.ledger",
    "report": "swarm.cli.report",
    "dashboard": "swarm.cli.dashboard",
    "demo": "swarm.demo.command",
    "simulate": "swarm.simulate.command",
}
"""Commands whose module is imported on first use; it has a function, or an app, with the name of the command."""

_PASS_ON = {"allow_interspersed_args": False}
"""Options after the first word of the user's command belong to that command, with or without ``--``."""


class _Group(TyperGroup):
    """Prints a ``SwarmError`` as one sentence, and imports some commands on first use."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *_LAZY]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _LAZY:
            return super().get_command(ctx, cmd_name)
        found = getattr(import_module(_LAZY[cmd_name]), cmd_name)
        if isinstance(found, typer.Typer):
            group = typer.main.get_command(found)
            group.name = cmd_name  # else the list of commands has no name for it
            return group
        alone = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
        alone.command(cmd_name)(found)
        return typer.main.get_command(alone)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SwarmError as error:
            if os.environ.get(uncaught.VARIABLE, "").strip().lower() == uncaught.FULL:
                traceback.print_exc()
            # Own messages may have several lines; the text of a peer in them is on one.
            lines = "\n".join(printable(line) for line in str(error).split("\n"))
            typer.echo(f"swarm: {lines}", err=True)
            raise typer.Exit(_exit_code(error)) from error


def _exit_code(error: SwarmError) -> int:
    if isinstance(error, CommandNotFoundError):
        return NOT_FOUND
    return 2 if isinstance(error, ConfigurationError) else 1


app = typer.Typer(
    cls=_Group,
    name="swarm",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(context_settings=_PASS_ON)(up)
app.command(context_settings=_PASS_ON)(run)
app.command()(status)
app.command()(stop)
app.command()(config)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"swarm {version('swarm-learning')}")
        raise typer.Exit


@app.callback()
def swarm(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train one model with several peers that keep their data, without a server."""

"""``swarm run``: the peer of one site."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from swarm.cli import options
from swarm.cli.directories import CONTAINER_LAYOUT, fallbacks, of_settings, with_scratch
from swarm.cli.environment import of_peer
from swarm.cli.program import locate, search_path
from swarm.config import resolve


def run(
    command: options.Command,
    *,
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where this peer listens; port 0 takes any free one.")
    ] = None,
    advertise: Annotated[
        str | None,
        typer.Option(
            metavar="HOST[:PORT]", help="Address that others connect to, if it is not the one this peer listens on."
        ),
    ] = None,
    peer: Annotated[
        list[str] | None, typer.Option(metavar="HOST:PORT", help="A peer of the swarm; knowing one is enough.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of this peer, unique in the swarm.")] = None,
    model_name: Annotated[str | None, typer.Option(help="Name of this training.")] = None,
    min_peers: Annotated[int | None, typer.Option(help="Least number of peers that a round needs.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Directory with the data (DATA_DIR).")] = None,
    model_dir: Annotated[
        Path | None,
        typer.Option(
            help="Directory for the result and checkpoints (MODEL_DIR), created if it is missing. "
            "SCRATCH_DIR is scratch inside it, unless it is set."
        ),
    ] = None,
    resume: Annotated[
        bool | None, typer.Option("--resume", help="Continue from the newest checkpoint in the model directory.")
    ] = None,
    insecure: Annotated[
        bool | None, typer.Option("--insecure", help="Let weights travel unencrypted, on a network that you trust.")
    ] = None,
) -> None:
    """Run the peer of one site.

    [bold]swarm run --peer other.example:7000 -- python train.py[/]

    Its place in the swarm comes from these options, SWARM_* variables or
    swarm.toml, in this order. The command takes over this process: its exit
    code is the exit code, and signals reach it directly.
    """
    given = {
        "listen": listen,
        "advertise": advertise,
        "peers": tuple(peer) if peer else None,
        "name": name,
        "model_name": model_name,
        "min_peers": min_peers,
        "data_dir": data_dir,
        "model_dir": model_dir,
        "resume": resume,
        "insecure": insecure,
    }
    program, environment = plan(command, given, os.environ)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(program[0], program, environment)  # noqa: S606 - running the user's command is the purpose


def plan(
    command: Sequence[str],
    given: Mapping[str, object],
    user: Mapping[str, str],
    container_layout: Path = CONTAINER_LAYOUT,
) -> tuple[list[str], dict[str, str]]:
    """The command with its executable found, and its environment.

    Raises:
        ConfigurationError: no swarm is configured, a setting is not allowed, a directory is not there, or the command
            does not exist.
    """
    resolved = resolve(given, environment=user, otherwise=fallbacks(user, container_layout))
    resolved.settings.require_swarm()
    directories = of_settings(resolved.settings, user)
    program = locate(command, search_path(user), [directories.model] if directories.model else [])
    directories = with_scratch(directories)
    directories.prepare()
    arguments = {
        f"SWARM_{setting.name.upper()}": _as_text(setting.value)
        for setting in resolved.describe()
        if setting.origin == "argument"
    }
    return program, of_peer(user, arguments, directories)


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)

"""``swarm up``: several peers on this machine, started together."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from swarm.cli import display, options
from swarm.cli.directories import Directories, choose
from swarm.cli.environment import ONE_THREAD, local_place, of_peer
from swarm.cli.launcher import Launcher
from swarm.cli.process import PeerSpec
from swarm.cli.program import locate, search_path
from swarm.cli.statuses import StatusBoard
from swarm.cli.summary import record, summary
from swarm.config import resolve

RENDEZVOUS_PREFIX = "swarm-up-"
"""How the temporary directories start in which local peers publish their addresses."""


def up(
    command: options.Command,
    *,
    peers: Annotated[int, typer.Option("-n", "--peers", min=1, help="How many peers to start.")] = 2,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Data directory for all peers; {rank} in it stands for the number of the peer."),
    ] = None,
    model_dir: Annotated[
        Path | None, typer.Option(help="Directory for models; each peer gets peer-<rank> inside it.")
    ] = None,
    model_name: Annotated[
        str | None, typer.Option("--model-name", "--name", help="Name of this training (SWARM_MODEL_NAME).")
    ] = None,
    table: Annotated[bool, typer.Option(help="Show a live table of the peers, on a terminal.")] = True,
    json_output: options.Json = False,
) -> None:
    """Train with several peers on this machine.

    [bold]swarm up -n 4 -- python train.py[/]

    Each peer runs the command with its own SWARM_RANK, from 0, and with
    SWARM_WORLD_SIZE. One that dies does not stop the others. Ctrl-C ends all.
    The exit code is 0 if every peer ended with 0, else that of the first that
    failed, or 128 and the number of the signal that ended it. A peer that ends
    with 0 and without a closing model does not change it: the last line names
    that peer.
    """
    given = {"data_dir": data_dir, "model_dir": model_dir, "model_name": model_name}
    rendezvous = Path(tempfile.mkdtemp(prefix=RENDEZVOUS_PREFIX))
    try:
        specs = plan(command, peers, given, os.environ, rendezvous)
    except BaseException:
        rendezvous.rmdir()
        raise
    board = StatusBoard(rendezvous)
    with display.choose([spec.name for spec in specs], table=table, json_output=json_output) as shown:
        launcher = Launcher(specs, board, shown)
        code = launcher.run(rendezvous)
    with contextlib.suppress(OSError):
        shown.note(summary(launcher, code))
    if json_output:
        typer.echo(json.dumps(record(launcher, code)))
    raise typer.Exit(code)


def plan(
    command: Sequence[str], peers: int, given: Mapping[str, object], user: Mapping[str, str], rendezvous: Path
) -> list[PeerSpec]:
    """What to start, checked as far as it can be before anything is.

    Raises:
        ConfigurationError: a setting is not allowed, a directory is not there, or the command does not exist.
    """
    settings = resolve(given, environment={**user, **local_place(0, peers, rendezvous)}).settings
    directories = choose(Directories(data=settings.data_dir, model=settings.model_dir), user)
    program = locate(command, search_path(user), [directories.model] if directories.model else [])
    specs = []
    for rank in range(peers):
        place = local_place(rank, peers, rendezvous) | {"SWARM_MODEL_NAME": settings.model_name}
        own = directories.of_rank(rank)
        own.prepare()
        environment = of_peer({**ONE_THREAD, **user}, place, own)
        specs.append(PeerSpec(name=place["SWARM_NAME"], rank=rank, command=program, environment=environment))
    return specs

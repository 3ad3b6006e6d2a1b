"""``swarm up``: several peers on this machine, started together."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from swarm.cli import display, options, page
from swarm.cli.directories import fallbacks, of_settings, remove_empty, temporary_scratch, with_scratch
from swarm.cli.display.logfile import NAME as LOG_NAME
from swarm.cli.environment import (
    ONE_THREAD,
    launcher_identity,
    local_place,
    machine_authority,
    of_peer,
    peer_identity,
    peer_name,
    with_tracebacks,
)
from swarm.cli.launcher import Launcher
from swarm.cli.process import PeerSpec
from swarm.cli.program import locate, search_path
from swarm.cli.result import pattern
from swarm.cli.statuses import StatusBoard, fetch_over_grpc
from swarm.cli.summary import record, summary
from swarm.config import former, resolve
from swarm.config.sources import from_environment, from_file
from swarm.errors import IdentityError
from swarm.identity.throwaway import make_identities
from swarm.logs import log_format
from swarm.storage.results import REPORTS

RENDEZVOUS_PREFIX = "swarm-up-"
"""Prefix of the temporary directories in which local peers publish their addresses."""


def up(
    command: options.Command,
    *,
    peers: Annotated[int, typer.Option("-n", "--peers", min=1, help="How many peers to start.")] = 2,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Directory with the data (DATA_DIR): a peer gets peer-<rank> inside it if every peer has one there, "
            "else all get the directory itself. {rank} in it is replaced instead."
        ),
    ] = None,
    model_dir: Annotated[
        Path | None,
        typer.Option(
            help="Directory for results and checkpoints (MODEL_DIR): a peer gets peer-<rank> inside it. "
            "{rank} in it is replaced instead."
        ),
    ] = None,
    resume: Annotated[
        bool | None, typer.Option("--resume", help="Each peer continues from the newest checkpoint in its directory.")
    ] = None,
    model_name: Annotated[str | None, options.of_setting("model_name", "--model-name", "--name")] = None,
    verbose: Annotated[
        bool,
        typer.Option("-v", "--verbose", help="Show the whole log on a terminal, and all tracebacks."),
    ] = False,
    table: Annotated[bool, typer.Option(help="Show a live table of the peers, on a terminal.")] = True,
    dashboard: options.Dashboard = False,
    json_output: options.Json = False,
) -> None:
    """Train with several peers on this machine.

    [bold]swarm up -n 4 -- python train.py[/]

    Each peer runs the command with its own SWARM_RANK, from 0, and with
    SWARM_WORLD_SIZE. A failed peer does not stop the others. Ctrl-C ends all.
    The exit code is 0 if every peer ended with 0, else that of the first that
    failed, or 128 plus the number of the signal that ended it. A peer that ends
    with 0 and without a closing model does not change it; the last line names
    that peer.

    On a terminal a table shows the peers; above it are the lines of the script and
    warnings. All that the peers write, rounds included, goes to swarm-up.log in
    the model directory, else to a temporary file. In a pipe there are only lines;
    with SWARM_LOG_FORMAT=json each is a JSON object.

    Connections between the peers are encrypted with throw-away identities
    that end with this command, unless SWARM_INSECURE is true.

    SCRATCH_DIR is peer-<rank> inside SCRATCH_DIR if that is set, else scratch
    inside the peer's model directory, else a temporary directory. If a peer
    leaves files in the temporary directory, it is kept, and a line names it.
    """
    given = {"data_dir": data_dir, "model_dir": model_dir, "model_name": model_name, "resume": resume}
    if dashboard:
        page.plugin()
    rendezvous = Path(tempfile.mkdtemp(prefix=RENDEZVOUS_PREFIX))
    with temporary_scratch() as scratch:
        try:
            specs = plan(command, peers, given, with_tracebacks(os.environ, full=verbose), rendezvous, scratch)
        except BaseException:
            shutil.rmtree(rendezvous, ignore_errors=True)
            raise
        own = launcher_identity(rendezvous)
        board = StatusBoard(rendezvous, partial(fetch_over_grpc, identity=own if own.is_dir() else None))
        with contextlib.ExitStack() as stack:
            live = None
            if dashboard:
                places = [Path(place) for spec in specs if (place := spec.environment.get("MODEL_DIR"))]
                live = stack.enter_context(page.beside_local_peers(os.environ, rendezvous, places))
            shown = stack.enter_context(
                display.choose(
                    [spec.name for spec in specs],
                    table=table,
                    verbose=verbose,
                    json_lines=log_format(os.environ) == "json",
                    json_output=json_output,
                    log=_log_place(specs),
                    append=bool(resume),
                )
            )
            if live:
                shown.note(f"the page is at {live.url}")
            least = resolve(environment=specs[0].environment).settings.min_peers
            launcher = Launcher(specs, board, shown, min_peers=least)
            code = launcher.run(rendezvous)
            if live:
                live.tell(record(launcher, code))
        if not os.environ.get("SCRATCH_DIR"):
            remove_empty(spec.environment.get("SCRATCH_DIR") for spec in specs)
    with contextlib.suppress(OSError):
        if scratch.is_dir():
            shown.note(f"peers left files in {scratch} (SCRATCH_DIR)")
        for trace in launcher.traces():
            shown.trace(*trace)
        if shown.log:
            shown.note(f"all that the peers wrote is in {shown.log}")
        if live and (report := _report(specs)):
            shown.note(f"the page has ended; `swarm dashboard --report {report}` shows the run again")
        for text in summary(launcher):
            shown.note(text)
    if json_output:
        typer.echo(json.dumps(record(launcher, code)))
    raise typer.Exit(code)


def _log_place(specs: Sequence[PeerSpec]) -> Path | None:
    """The log file: in the directory that holds those of the peers' models; None without one."""
    parents = [str(Path(directory).parent) for spec in specs if (directory := spec.environment.get("MODEL_DIR"))]
    return Path(os.path.commonpath(parents)) / LOG_NAME if parents else None


def _report(specs: Sequence[PeerSpec]) -> str:
    """The first report that a peer has written; empty if there is none."""
    written = (Path(spec.environment.get("MODEL_DIR", os.devnull), REPORTS[0]) for spec in specs)
    return next((pattern([str(file)]) for file in written if file.is_file()), "")


def _make_identities(places: Mapping[str, Path], authority: Path) -> None:
    """From the authority of this machine's user, so that ``--resume`` can check the records of an earlier run."""
    try:
        make_identities(places, authority=authority)
    except IdentityError as error:
        typer.echo(f"swarm: a later `swarm up --resume` cannot check the records of this run: {error}", err=True)
        make_identities(places)


def plan(
    command: Sequence[str],
    peers: int,
    given: Mapping[str, object],
    user: Mapping[str, str],
    rendezvous: Path,
    scratch: Path | None = None,
) -> list[PeerSpec]:
    """The peers to start, checked as far as possible before the start.

    Args:
        command: of every peer.
        peers: how many.
        given: options, by name of setting.
        user: the environment.
        rendezvous: where the peers meet.
        scratch: for the scratch directories of peers without a model directory.

    Raises:
        ConfigurationError: a setting is not allowed, a directory is not there, or the command does not exist.
    """
    user = former.variables(user)
    environment = {**user, **local_place(0, peers, rendezvous)}
    insecure = {**from_file(user, Path()), **from_environment(user)}.get("insecure")
    if not insecure or not insecure.value:
        ranks = {peer_name(rank): peer_identity(rank, rendezvous) for rank in range(peers)}
        _make_identities({**ranks, "launcher": launcher_identity(rendezvous)}, machine_authority(user))
        environment["SWARM_IDENTITY"] = str(peer_identity(0, rendezvous))  # not that of this site, which is of one name
    settings = resolve(given, environment=environment, otherwise=fallbacks(user)).settings
    directories = of_settings(settings, user)
    program = locate(command, search_path(user), [directories.model] if directories.model else [])
    specs = []
    for rank, of_rank in enumerate(directories.of_ranks(peers)):
        place = local_place(rank, peers, rendezvous) | {"SWARM_MODEL_NAME": settings.model_name}
        if not settings.insecure:
            place["SWARM_IDENTITY"] = str(peer_identity(rank, rendezvous))
        if given.get("resume") is not None:
            place["SWARM_RESUME"] = str(settings.resume).lower()
        own = with_scratch(of_rank, scratch and scratch / f"peer-{rank}")
        own.prepare()
        environment = of_peer({**ONE_THREAD, **user}, place, own)
        specs.append(PeerSpec(name=place["SWARM_NAME"], rank=rank, command=program, environment=environment))
    return specs

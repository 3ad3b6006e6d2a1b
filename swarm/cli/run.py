"""``swarm run``: the peer of one site."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from swarm.addresses import Address, is_wildcard, join
from swarm.cli import options, page
from swarm.cli.cluster import Cluster, cluster_of
from swarm.cli.directories import CONTAINER_LAYOUT, fallbacks, of_settings, with_scratch
from swarm.cli.environment import machine_authority, of_peer, peer_name, with_tracebacks
from swarm.cli.program import locate, search_path
from swarm.config import SETTINGS, Settings, former, resolve
from swarm.errors import ConfigurationError, IdentityError, NameInUseError
from swarm.identity.throwaway import own_identity


def run(
    command: options.Command,
    *,
    listen: Annotated[str | None, options.of_setting("listen", metavar="HOST:PORT")] = None,
    advertise: Annotated[str | None, options.of_setting("advertise", metavar="HOST[:PORT]")] = None,
    peer: Annotated[list[str] | None, options.of_setting("peers", metavar="HOST:PORT")] = None,
    name: Annotated[str | None, options.of_setting("name")] = None,
    model_name: Annotated[str | None, options.of_setting("model_name")] = None,
    min_peers: Annotated[int | None, options.of_setting("min_peers")] = None,
    data_dir: Annotated[Path | None, options.of_setting("data_dir")] = None,
    model_dir: Annotated[Path | None, options.of_setting("model_dir")] = None,
    resume: Annotated[bool | None, options.of_setting("resume", "--resume")] = None,
    identity: Annotated[Path | None, options.of_setting("identity")] = None,
    insecure: Annotated[bool | None, options.of_setting("insecure", "--insecure")] = None,
    dashboard: options.Dashboard = False,
    identities: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="On a cluster: directory of `swarm identities`, with one for each rank."),
    ] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show tracebacks of Swarm's errors.")] = False,
) -> None:
    """Run the peer of one site.

    [bold]swarm run --peer other.example:7000 -- python train.py[/]

    Settings come from these options, SWARM_* variables or swarm.toml, in
    this order. In a job of several tasks on Slurm, of a JobSet or of torchrun,
    each task is a peer, and rank, number of peers and addresses come from the
    scheduler unless they are given. A peer without an identity that listens on a loopback address
    is given one for this machine. The command replaces this process: its exit code is the exit
    code, and it receives signals directly.
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
        "identity": identity,
        "insecure": insecure,
    }
    own = machine_authority(os.environ)
    user = with_tracebacks(os.environ, full=verbose)
    program, environment = plan(command, given, user, own=own, identities=identities)
    if dashboard:
        live = page.start(environment, *_own_address(environment))
        typer.echo(f"swarm: the page is at {live.url}", err=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(program[0], program, environment)  # noqa: S606 - running the user's command is the purpose


def plan(
    command: Sequence[str],
    given: Mapping[str, object],
    user: Mapping[str, str],
    container_layout: Path = CONTAINER_LAYOUT,
    own: Path | None = None,
    identities: Path | None = None,
) -> tuple[list[str], dict[str, str]]:
    """The command with its executable found, and its environment.

    Args:
        command: of the user.
        given: options, by name of setting.
        user: the environment.
        container_layout: where scripts for containers expect their directories.
        own: of the authority that gives an identity to a peer that listens on this machine only; None: it gets none.
        identities: with one for each rank of a cluster.

    Raises:
        ConfigurationError: no swarm is configured, a setting is not allowed, a directory is not there, or the command
            does not exist.
    """
    user = former.variables(user)
    cluster = cluster_of(user)
    given = {**given, "identity": given.get("identity") or _of_rank(identities, cluster)}
    otherwise = {**fallbacks(user, container_layout), **cluster.settings(user, given)}
    resolved = resolve(given, environment=user, otherwise=otherwise)
    resolved.settings.require_swarm()
    directories = of_settings(resolved.settings, user)
    if cluster.scheduler:
        directories = directories.of_ranks(cluster.size)[cluster.rank]
    program = locate(command, search_path(user), [directories.model] if directories.model else [])
    directories = with_scratch(directories)
    directories.prepare()
    arguments = {
        SETTINGS[name].variable: _as_text(value)
        for name, (value, origin) in resolved.values().items()
        if origin == "argument" or (name in otherwise and origin == otherwise[name].origin)
    }
    if own is not None:
        arguments |= _own_identity(resolved.settings, own)
    seen = {name: value for name, value in user.items() if not cluster.hidden(name)}
    return program, of_peer(seen, arguments, directories)


def _own_address(environment: Mapping[str, str]) -> list[str]:
    """The option that names the peer which starts with this environment; none where its port is not known yet."""
    settings = resolve(environment=environment).settings
    listen = Address.parse(settings.listen)
    if not listen.port:
        return []
    place = join("127.0.0.1" if is_wildcard(listen.host) else listen.host, listen.port)
    return ["--peer", f"{settings.name}@{place}" if settings.identity else place]


def _of_rank(identities: Path | None, cluster: Cluster) -> Path | None:
    """The identity of this task of a cluster."""
    if identities is None:
        return None
    if not cluster.scheduler:
        raise ConfigurationError(
            f"--identities {identities} is for a job of several tasks (Slurm, JobSet, torchrun), and this is none: "
            "name one identity with --identity"
        )
    found = identities / peer_name(cluster.rank)
    if not found.is_dir():
        raise ConfigurationError(
            f"{found} is not there: make the identities of {cluster.size} peers with "
            f"`swarm identities -n {cluster.size} {identities}`"
        )
    return found


def _own_identity(settings: Settings, authority: Path) -> dict[str, str]:
    """Variables of the identity of a peer without one, which then listens on a loopback address."""
    if settings.identity or settings.insecure or settings.loopback or settings.transport != "grpc":
        return {}
    try:
        identity = own_identity(authority, settings.name, exact=settings.named)
    except NameInUseError:
        raise
    except IdentityError as error:
        typer.echo(f"swarm: connections on this machine are not encrypted: {error}", err=True)
        return {}
    typer.echo(
        f"swarm: this peer has no identity, so it was given one for this machine, as {identity.name}, in {identity}",
        err=True,
    )
    return {"SWARM_IDENTITY": str(identity), "SWARM_NAME": identity.name}


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)

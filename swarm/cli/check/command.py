"""The command: settings, then this machine, then every known peer, at the same time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from swarm.addresses import Address, join, parse_advertised, place_of
from swarm.cli import options
from swarm.cli.check.finding import Finding, Level, failure, ok
from swarm.cli.check.here import HERE, of_machine
from swarm.cli.check.listening import listening
from swarm.cli.check.parts import of_discovery
from swarm.cli.check.there import of_peer
from swarm.cli.cluster import cluster_of
from swarm.cli.directories import fallbacks
from swarm.cli.status import fetch
from swarm.cli.statuses import ANSWER_SECONDS
from swarm.cli.table import console
from swarm.config import Settings, former, resolve
from swarm.discovery.directory import announcements
from swarm.errors import ConfigurationError, IdentityError
from swarm.identity import identity_at
from swarm.proxy import Proxies

AT_ONCE = 16
COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.FAILURE: "red"}


def check(
    peer: Annotated[list[str] | None, options.of_setting("peers", metavar="HOST:PORT")] = None,
    listen: Annotated[str | None, options.of_setting("listen", metavar="HOST:PORT")] = None,
    model_name: Annotated[str | None, options.of_setting("model_name")] = None,
    data_dir: Annotated[Path | None, options.of_setting("data_dir")] = None,
    model_dir: Annotated[Path | None, options.of_setting("model_dir")] = None,
    identity: Annotated[Path | None, options.of_setting("identity")] = None,
    json_output: options.Json = False,
) -> None:
    """Find in seconds what would go wrong in a run.

    [bold]swarm check --peer other.example:7000[/]

    Looks at this machine, and at every peer that the settings, the consortium or
    a rendezvous directory name: whether it can be reached, how far it is, the
    bandwidth, its clock, version and settings. The other peers may be waiting to start, or
    train already. Settings are those of `swarm run`; arguments in the script
    are not known.

    The exit code is 1 if something would keep this peer from taking part.
    """
    given = {
        "peers": tuple(peer) if peer else None,
        "listen": listen,
        "model_name": model_name,
        "data_dir": data_dir,
        "model_dir": model_dir,
        "identity": identity,
    }
    user = former.variables(os.environ)
    otherwise = {**fallbacks(user), **cluster_of(user).settings(user, given)}
    settings = resolve(given, environment=user, otherwise=otherwise, usable=False).settings
    findings = [*find(settings)]
    if json_output:
        typer.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        console().print(_table(findings))
        typer.echo(_verdict(findings))
    raise typer.Exit(any(finding.level is Level.FAILURE for finding in findings))


def find(settings: Settings) -> Iterable[Finding]:
    """Everything, this machine first."""
    from swarm.session.wiring import discoveries_of

    identity = damaged = None
    try:
        identity = identity_at(settings.identity, usable=False) if settings.identity else None
    except IdentityError as error:
        damaged = error
    yield from of_machine(settings, identity, damaged)
    known = [*settings.peers, *(identity.others if identity else ())]
    if settings.rendezvous:
        known += [each.address for each in announcements(settings.rendezvous)]
    own = {*_own(settings)}
    addresses = [each for each in dict.fromkeys(known) if place_of(each) not in own]
    ask = partial(fetch, identity=settings.identity, timeout=ANSWER_SECONDS, proxies=Proxies(settings.proxy))
    counts = damaged is None and (identity is None or identity.unusable is None)
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        # That of the consortium needs a certificate that counts, and nothing else.
        asked = [name for name in discoveries_of(settings) if counts or name != "consortium"]
        discoveries = [pool.submit(of_discovery, name, settings) for name in asked]
        station = None
        if counts:
            try:
                station = stack.enter_context(listening(settings))
            except ConfigurationError as error:
                yield failure(HERE, "transport", str(error), "correct the settings of the transport")
            else:
                if station is None:
                    yield ok(HERE, "transport", f"{settings.transport}: it has started; no peer is asked over it")
        for each in discoveries:
            yield each.result()
        for found in pool.map(
            lambda address: [*of_peer(address, settings, ask if counts else None, station)], addresses
        ):
            yield from found


def _own(settings: Settings) -> Iterable[str]:
    """Where this peer itself will be: a list of all sites may name it too."""
    listen = Address.parse(settings.listen)
    yield join(listen.host, listen.port)
    if settings.advertise:
        host, port = parse_advertised(settings.advertise)
        yield join(host, listen.port if port is None else port)


def _table(findings: Sequence[Finding]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("where", "what", "", "found"):
        table.add_column(column)
    for each in findings:
        text = Text(each.found)
        if each.action:
            text.append(f"\n→ {each.action}", style="bold")
        table.add_row(Text(each.where), Text(each.what), Text(each.level, style=COLOURS[each.level]), text)
    return table


def _verdict(findings: Sequence[Finding]) -> str:
    count = {level: sum(each.level is level for each in findings) for level in Level}
    peers = len({each.where for each in findings}) - 1
    found = (
        _counted(peers, "other peer"),
        _counted(count[Level.FAILURE], "failure"),
        _counted(count[Level.WARNING], "warning"),
    )
    return "looked at this machine and {}: {}, {}".format(*found)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"

"""``swarm dashboard``: a page of a running swarm, or of a saved run. The plugin ``swarm-dashboard`` makes the page."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from swarm.addresses import Address
from swarm.cli.asking import Places, Watch
from swarm.cli.page import LISTEN, Parent, Place, place, plugin
from swarm.cli.report import own_place
from swarm.cli.status import fetch, find
from swarm.cli.written import Written
from swarm.config import resolve
from swarm.errors import ConfigurationError
from swarm.proxy import Proxies
from swarm.storage.results import REPORTS


def dashboard(
    peer: Annotated[
        list[str] | None, typer.Option(metavar="HOST:PORT", help="Address of a peer; may be given several times.")
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help=f"Where the page listens; default {LISTEN}, or a free port."),
    ] = None,
    certificates: Annotated[
        bool, typer.Option("--certificates", help="Browsers show a certificate of a member, instead of a token.")
    ] = False,
    report: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Show this swarm-report.json, or a run that the page has saved; may be given several times.",
        ),
    ] = None,
    model_dir: Annotated[list[Path] | None, typer.Option(hidden=True)] = None,
    beside: Annotated[int | None, typer.Option(hidden=True)] = None,
    descriptor: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Show a running swarm on a page for the browser.

    [bold]swarm dashboard --peer other.example:7000[/]

    Asks the peers that --peer or the settings name, or that [bold]swarm up[/]
    started on this machine, for their status, and the peers that these know of.
    The page shows who trains and who is waited for, losses, bytes, the ledger
    and settings. It changes nothing.

    The address that is printed opens the page. If it listens on an address that
    other machines can reach, it is encrypted with the certificate of this site's
    identity.
    """
    serve = plugin()
    for each in report or ():
        _check_saved(each)
    for address in peer or ():
        Address.parse(address)
    own = resolve(environment=os.environ).settings
    proxies = Proxies(own.proxy)
    finder = _finder(peer or [], own.identity, os.environ, required=beside is None and not report)
    watch = Watch(finder, lambda address, timeout, identity: fetch(address, timeout, identity, proxies))
    # A peer ends with the closing round, before it is asked again: what it did not tell is in its report.
    written = Written(model_dir or filter(None, [own_place()]))
    ended: Callable[[], Mapping[str, Any] | None] = lambda: None  # noqa: E731 - replaced below
    if beside is not None and descriptor is not None:
        parent = Parent(beside, sys.stdin.buffer)
        at, ended = Place(socket.socket(fileno=descriptor), parent.token), parent.ended
    else:
        at = place(listen, own.identity, certificates=certificates)
        typer.echo(f"swarm: the page is at {at.url}", err=True)
    serve(
        watch.turn,
        listening=at.listening,
        token=at.token,
        identity=at.identity,
        ended=ended,
        reports=written.new,
        saved=[each.absolute() for each in report or ()],
    )


def _check_saved(file: Path) -> None:
    """See at the start whether the page can show a file.

    Raises:
        ConfigurationError: it is neither a report nor a saved run.
    """
    if file.is_dir():
        raise ConfigurationError(f"--report {file} is a directory: name the file {file / REPORTS[0]} in it")
    if not file.exists():
        raise ConfigurationError(f"--report {file}: there is no such file")
    try:
        saved = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        saved = None
    if not isinstance(saved, dict) or not ({"swarm_report", "format"} & saved.keys()):
        raise ConfigurationError(f"--report {file} is neither a {REPORTS[0]} nor a run that the page has saved")


def _finder(
    given: Sequence[str], identity: Path | None, environment: Mapping[str, str], *, required: bool
) -> Callable[[], Places]:
    """What finds the addresses of peers, each time anew.

    Args:
        given: addresses on the command line.
        identity: to ask those with.
        environment: with the settings.
        required: whether somebody must be found at the start.

    Raises:
        ConfigurationError: nobody is, and ``required``.
    """
    # Peers that `swarm up` has started are looked for only if nothing else says whom to ask.
    temporary = Path(os.devnull) if given or not required else Path(tempfile.gettempdir())

    def found() -> Places:
        try:
            named = find(environment, temporary)
        except ConfigurationError:
            named = {}
        return {**named, **dict.fromkeys(given, identity)}

    if required and not given:
        find(environment, temporary)
    return found

"""``swarm status``: query running peers about their training."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from swarm.addresses import Address, place_of
from swarm.cli import options
from swarm.cli.answers import PeerView, parse, plain, sessions
from swarm.cli.environment import launcher_identity, machine_authority
from swarm.cli.protocols import protocol_lines
from swarm.cli.statuses import ANSWER_SECONDS, FetchStatus, fetch_over_grpc
from swarm.cli.table import console, peer_table
from swarm.cli.up import RENDEZVOUS_PREFIX
from swarm.cli.watching import await_first, follow
from swarm.config import resolve
from swarm.discovery.directory import announcements
from swarm.errors import ConfigurationError, SwarmError, UnreachablePeerError
from swarm.identity import identity_at
from swarm.identity.throwaway import own_identity
from swarm.proxy import Proxies
from swarm.text import MAX_SHOWN, printable
from swarm.transport.base import Way

REMEDY = "check that one is running, and give its address with --peer"
"""Where no peer answers."""
_first = threading.Lock()
"""Several threads ask at the same time; one of them makes the identity."""


@dataclass(frozen=True, slots=True)
class Silent:
    """An address at which no peer answered."""

    address: str
    reason: str
    answered: bool

    def __str__(self) -> str:
        """The problem, as one sentence."""
        what = "does not answer as a peer does" if self.answered else "does not answer"
        return f"{self.address} {what}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of the queried peers."""

    peers: tuple[Mapping[str, Any], ...]
    """The status of each session of these peers, checked and escaped."""
    views: tuple[PeerView, ...]
    """The fields that a table shows."""
    silent: tuple[Silent, ...]


def status(
    context: typer.Context,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT", help="Address of a peer, or the name of one started here; may be given several times."
        ),
    ] = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks with --watch.")] = 2.0,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the first peer with --watch.")] = 60.0,
    json_output: options.Json = False,
) -> None:
    """Query running peers about their training: rounds, loss, interval, bytes.

    Without --peer it queries the peers that SWARM_RENDEZVOUS, SWARM_PEERS or
    swarm.toml name, else those that [bold]swarm up[/] started on this machine.
    With --watch it waits for the first peer. With --json and --watch each look is
    one line.
    """
    own = resolve(environment=os.environ).settings
    temporary = Path(tempfile.gettempdir())

    def look() -> Answers:
        places = chosen(peer, own.identity, os.environ, temporary) if peer else find(os.environ, temporary)
        proxies = Proxies(own.proxy)
        return ask(places, context.obj or (lambda address, limit: fetch(address, limit, places[address], proxies)))

    def somebody() -> Answers:
        found = look()
        if not found.peers:
            silent = "; ".join(str(each) for each in found.silent)
            raise UnreachablePeerError(f"no peer answered ({silent}): {REMEDY}")
        return found

    if watch:
        first = await_first(somebody, wait, every, tell=lambda line: typer.echo(f"swarm: {line}", err=True))
        if first:
            follow(first, look, every, shown=_document if json_output else _watched, out=console())
        return
    found = look()
    for silent in found.silent:
        typer.echo(f"swarm: {silent}", err=True)
    if not found.peers:
        raise UnreachablePeerError(f"no peer answered: {REMEDY}")
    console().print(_document(found) if json_output else _shown(found), soft_wrap=json_output)


def _watched(answers: Answers) -> Group:
    silent = [Text(str(each), style="yellow") for each in answers.silent]
    return Group(_shown(answers) if answers.peers else Text("no peer answers at the moment"), *silent)


def _document(answers: Answers) -> Text:
    unreachable = [{"address": silent.address, "reason": silent.reason} for silent in answers.silent]
    return Text(json.dumps({"peers": answers.peers, "unreachable": unreachable}))


def chosen(
    peers: Iterable[str], identity: Path | None, environment: Mapping[str, str], temporary: Path
) -> dict[str, Path | None]:
    """Addresses of the peers that a user has named, each with the identity to ask it with.

    Args:
        peers: addresses, or names of peers that ``swarm up`` has started here.
        identity: for those that were not started here.
        environment: of this process.
        temporary: where ``swarm up`` has its rendezvous directories.

    Raises:
        ConfigurationError: there is no peer of a name.
    """
    here = [found for rendezvous in _rendezvous(environment, temporary) for found in _announced(rendezvous)]
    places: dict[str, Path | None] = {}
    for peer in peers:
        named = {address: own for name, address, own in here if peer in {name, address, place_of(address)}}
        if not named and ":" not in peer:
            known = f"those are {', '.join(sorted({name for name, *_ in here}))}" if here else "there is none"
            raise ConfigurationError(f"no peer {peer!r} was started here ({known}): give HOST:PORT of one elsewhere")
        places |= named or {peer: identity}
    return places


def fetch(address: str, timeout: float, identity: Path | None, proxies: Proxies) -> Mapping[str, Any]:
    """Ask the peer at ``address`` with an identity; without one, as what is not encrypted, then as `swarm run`.

    Raises:
        SwarmError: as of ``fetch_status``.
    """
    try:
        return fetch_over_grpc(address, timeout, identity, proxies)
    except UnreachablePeerError:
        authority = machine_authority(os.environ)
        if identity is not None or not authority.is_dir() or not Address.parse(address).is_loopback:
            raise
        with _first:
            own = _own(authority)
        return fetch_over_grpc(address, timeout, own)


@cache
def _own(authority: Path) -> Path:
    """The identity to ask this user's peers with: one for all questions, since its name is taken until the end."""
    return own_identity(authority, "status", exact=False)


def ask(addresses: Iterable[str], fetch: FetchStatus) -> Answers:
    """Query all addresses at the same time."""
    asked = list(dict.fromkeys(addresses))
    with ThreadPoolExecutor(max_workers=8) as pool:
        results = list(pool.map(lambda address: _ask_one(address, fetch), asked))
    understood = [session for result in results if not isinstance(result, SwarmError) for session in result]
    return Answers(
        peers=tuple(answer for answer, _ in understood),
        views=tuple(view for _, view in understood),
        silent=tuple(
            Silent(
                printable(address),
                printable(str(result), MAX_SHOWN),
                answered=not isinstance(result, UnreachablePeerError),
            )
            for address, result in zip(asked, results, strict=True)
            if isinstance(result, SwarmError)
        ),
    )


def find(environment: Mapping[str, str], temporary: Path) -> dict[str, Path | None]:
    """Addresses of the peers that the settings name, else of those that ``swarm up`` started on this machine.

    Each with the identity to ask it with, if it is asked over TLS.

    Raises:
        ConfigurationError: there are none.
    """
    settings = resolve(environment=environment).settings
    known = identity_at(settings.identity).addresses if settings.identity else ()
    found: dict[str, Path | None] = dict.fromkeys((*settings.peers, *known), settings.identity)
    if settings.rendezvous or not found:
        for rendezvous in _rendezvous(environment, temporary):
            found |= {address: own for _, address, own in _announced(rendezvous)}
    if not found:
        raise ConfigurationError(
            "there is no peer to ask: none was started here by `swarm up`, and neither SWARM_PEERS nor swarm.toml "
            "names one; give an address with --peer HOST:PORT"
        )
    return found


def _rendezvous(environment: Mapping[str, str], temporary: Path) -> Iterator[Path]:
    """The directory of the settings in which peers meet, else those of this user's ``swarm up``."""
    if given := resolve(environment=environment).settings.rendezvous:
        yield given
    else:
        yield from own_rendezvous(temporary)


def own_rendezvous(temporary: Path) -> Iterator[Path]:
    """The directories in which the peers of this user's ``swarm up`` meet, on this machine."""
    for directory in sorted(temporary.glob(f"{RENDEZVOUS_PREFIX}*")):
        with contextlib.suppress(FileNotFoundError):
            if directory.stat().st_uid == os.getuid():
                yield directory


def _announced(rendezvous: Path) -> list[tuple[str, str, Path | None]]:
    """Name and address of the peers that meet in a directory, and the identity to ask them with."""
    own = launcher_identity(rendezvous)
    return [(found.name, found.address, own if own.is_dir() else None) for found in announcements(rendezvous)]


def _ask_one(address: str, fetch: FetchStatus) -> list[tuple[Mapping[str, Any], PeerView]] | SwarmError:
    try:
        answer = fetch(address, ANSWER_SECONDS)
        return [(plain(session), parse(session)) for session in sessions(answer)]
    except SwarmError as error:
        return error


def _ways(view: PeerView) -> str:
    """How a peer reaches those to which it cannot connect; empty where there are none."""
    told = {Way.REVERSE: "over the connections that {} opens", Way.RELAY: "over a relay"}
    ways = [f"{peer.name} {told[Way(peer.way)].format(peer.name)}" for peer in view.peers if peer.way in {*told}]
    return f"{view.name} reaches {', '.join(ways)}" if ways else ""


def _shown(answers: Answers) -> Group:
    """For each session, a table of the peers that answered and of the peers that these know."""
    parts: list[Any] = []
    views = answers.views
    for session in sorted({view.session for view in views}):
        answered = {view.address: view for view in views if view.session == session}
        known = {peer.address: peer for view in answered.values() for peer in view.peers}
        rows = [(view.name, rank, view.status, view) for rank, view in enumerate(answered.values())]
        parts.append(Text(session, style="bold"))
        parts.append(peer_table(rows, console().width))
        protections = sorted({view.security for view in answered.values() if view.security})
        for protection in protections:
            names = ", ".join(view.name for view in answered.values() if view.security == protection)
            parts.append(Text(f"connections of {names}: {protection}"))
        parts += [Text(line) for line in protocol_lines([*answered.values()])]
        parts += [Text(line) for view in answered.values() if (line := _ways(view))]
        others = [peer for address, peer in sorted(known.items()) if address not in answered]
        parts += [Text(f"also in the swarm: {peer.name} at {peer.address} ({peer.status})") for peer in others]
    return Group(*parts)

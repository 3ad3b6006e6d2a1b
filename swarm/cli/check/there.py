"""What is looked at for each known peer: whether it can be reached, its clock, versions and settings."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Any

from swarm import versions
from swarm.addresses import Address
from swarm.cli.answers import MOST, count, number, parse, plain, sessions
from swarm.cli.check.finding import Finding, failure, ok, warning
from swarm.cli.check.links import of_link
from swarm.errors import ProxyError, SwarmError, TransportError
from swarm.identity.identity import NOTICE
from swarm.proxy import Proxies
from swarm.text import MAX_SHOWN, printable
from swarm.versions import Versions

if TYPE_CHECKING:
    from swarm.cli.check.listening import Station
    from swarm.config import Settings

CONNECT_SECONDS = 5.0
ASKED = 5
"""Questions of which the median is the round-trip time."""
CLOCK_SECONDS = 5.0
"""Difference of two clocks that is told: certificates, invitations and logs are compared by them."""
_SHARDS = re.compile(r"(\d+) shards, layout ")
"""What a peer declares as its ``exchange_shards``."""
Ask = Callable[[str], Mapping[str, Any]]
"""Gives the status of the peer at an address; raises ``SwarmError``."""


def of_peer(
    address: str,
    settings: Settings,
    ask: Ask | None,
    station: Station | None = None,
    *,
    now: Callable[[], float] = time.time,
) -> Iterator[Finding]:
    """Everything about one peer. What needs it is left out where it does not answer.

    Args:
        address: as ``name@host:port`` or ``host:port``.
        settings: of the peer here.
        ask: gives its status; None where this machine has no certificate that counts.
        station: asks about the way between the two; None where that is not asked.
        now: the time, in seconds since 1970.
    """
    where = Address.parse(address)
    try:
        through = Proxies(settings.proxy).find(where.host, where.port)
    except ProxyError as error:
        yield failure(address, "reached", str(error), "correct the variable, or set proxy")
        return
    closed = None if through else _closed(where)
    relayed = closed is not None and station is not None and station.turn_to_relay(address, closed[0])
    if closed is not None and not relayed:
        yield failure(address, "reached", *closed)
        return
    if ask is None:
        if not through:
            yield ok(address, "reached", "a connection can be opened")
        yield warning(address, "status", "not asked: it answers members only", "see the certificate of this machine")
        return
    answers: list[tuple[float, float, Mapping[str, Any]]] = []
    try:
        for _ in range(ASKED):
            begun, told = time.perf_counter(), now()
            answer = station.status(address) if relayed and station else ask(address)
            answers.append((time.perf_counter() - begun, told, answer))
    except SwarmError as error:
        text = printable(str(error), MAX_SHOWN)
        yield failure(address, "reached", text, "read the reason; the log of that peer may say more")
        return
    trip = median(seconds for seconds, _, _ in answers)
    answered = f"answers within {1000 * trip:.1f} ms, with a new connection each time"
    yield ok(address, "reached", f"{answered}, over a relay; directly: {closed[0]}" if relayed and closed else answered)
    if station is not None:
        yield from _certificate(address, station, now())
    _, told, answer = answers[-1]
    try:
        yield from _of_answer(address, settings, answer, told + answers[-1][0] / 2)
        if station is not None:
            yield from of_link(address, parse(sessions(answer)[0]).name, station)
    except TransportError as error:
        yield failure(address, "status", printable(str(error), MAX_SHOWN), "update Swarm there")


def _certificate(address: str, station: Station, now: float) -> Iterator[Finding]:
    try:
        found = station.certificate(address)
    except SwarmError as error:
        text = f"not seen: {printable(str(error), MAX_SHOWN)}"
        yield warning(address, "certificate", text, "repeat it, or read the reason")
        return
    if found is None:
        return
    left = found.not_after - datetime.fromtimestamp(now, UTC)
    text = f"{found.name}, until {found.not_after:%Y-%m-%d} ({left.days} {'day' if left.days == 1 else 'days'} left)"
    yield (
        warning(address, "certificate", text, "it expires soon: have it renewed there, with `swarm renew`")
        if left < NOTICE
        else ok(address, "certificate", text)
    )


def _closed(where: Address) -> tuple[str, str] | None:
    """Why no connection can be opened, and what to do; None if one can."""
    try:
        socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)
    except OSError as error:
        return f"the name {where.host} is not known: {error.strerror}", "correct the name, or the DNS of this network"
    try:
        with socket.create_connection((where.host, where.port), timeout=CONNECT_SECONDS):
            return None
    except TimeoutError:
        return "no answer: packets are dropped on the way", "open the port in the firewalls of both sites"
    except ConnectionRefusedError:
        return "nobody listens there", "start the peer, or correct its address (`listen`, `advertise`)"
    except OSError as error:
        return f"no way there: {error.strerror}", "check the network, the VPN and the address"


def _of_answer(address: str, settings: Settings, answer: Mapping[str, Any], now: float) -> Iterator[Finding]:
    views = [(parse(each), each) for each in sessions(answer)]
    mine = [(view, each) for view, each in views if view.session == settings.model_name]
    view, status = (mine or views)[0]
    yield from _versions(address, view.name, settings.name, status)
    yield from _clock(address, status, now)
    if not mine:
        names = ", ".join(sorted(view.session for view, _ in views))
        action = "give both the same model_name, or start a peer of this session there"
        yield failure(address, "session", f"{view.name} trains {names}, not {settings.model_name}", action)
        return
    yield ok(address, "session", f"{view.name}: {view.status}, round {view.round}")
    if view.name == settings.name and settings.named:
        action = "give each peer a name of its own (`name`, or the certificate of its site)"
        yield failure(address, "name", f"that peer is called {view.name}, as this one is", action)
    yield from _settings(address, settings, view.name, status)


def _versions(address: str, theirs: str, ours: str, status: Mapping[str, Any]) -> Iterator[Finding]:
    named = parse(status)
    known = Versions(named.protocol or 0, count(status, "oldest_protocol") or 0, named.release)
    reason = versions.obstacle({f"{ours} (here)": versions.here(), theirs: known})
    yield (
        failure(address, "version", reason, f"update the older one with `{versions.UPDATE}`")
        if reason
        else ok(address, "version", f"protocol {known.newest}, {versions.known_release(known.release)}")
    )


def _clock(address: str, status: Mapping[str, Any], now: float) -> Iterator[Finding]:
    told = number(status, "time")
    if told is None:
        return
    if not 0 <= told < MOST:
        yield warning(address, "clock", "it gives a time that no clock can show", "look at the log of that peer")
        return
    ahead = told - now
    if abs(ahead) < CLOCK_SECONDS:
        yield ok(address, "clock", f"within {CLOCK_SECONDS:.0f} s of this machine's")
    else:
        text = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
        yield warning(address, "clock", text, "set the clock of the one that is wrong (NTP): certificates depend on it")


def _settings(address: str, settings: Settings, theirs: str, status: Mapping[str, Any]) -> Iterator[Finding]:
    given = status.get("settings")
    if not isinstance(given, Mapping):
        return
    ours, others = dict(settings.agreed()), {str(name): str(value) for name, value in plain(given).items()}
    if shards := _SHARDS.match(others.get("exchange_shards", "")):  # which rows they have is known where a model is
        others["exchange_shards"] = "True" if ours.get("exchange_shards") == "True" else shards[1]
    different = [name for name in sorted({*ours, *others}) if ours.get(name) != others.get(name)]
    if not different:
        yield ok(address, "settings", "those that must agree do, as far as this machine knows them")
        return
    parts = [
        f"{name} is {json.dumps(others.get(name, 'the default'))} at {theirs} and "
        f"{json.dumps(ours.get(name, 'the default'))} here"
        for name in different
    ]
    action = "give both the same value; arguments in the script are not known here, and count more"
    yield warning(address, "settings", printable("; ".join(parts), MAX_SHOWN), action)

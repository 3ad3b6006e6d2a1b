"""What is looked at for the way to a peer that answers: whether it can connect here, data ports, bandwidth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from swarm.cli.check.finding import Finding, ok, warning
from swarm.config.rates import LEAST
from swarm.errors import SwarmError, UnknownCallError
from swarm.text import MAX_SHOWN, printable

if TYPE_CHECKING:
    from swarm.cli.check.listening import Station
    from swarm.transport.grpc.measuring import Speeds

MODEL_MBIT = 100 * 2**20 * 8 / 1e6
"""Of a model of 100 MiB, exact."""


def of_link(address: str, name: str, station: Station) -> Iterator[Finding]:
    """Everything about the way between this machine and the peer ``name`` at ``address``."""
    try:
        over_relay = station.over_relay(address)
        if station.open and not over_relay:
            yield _answered(address, "connects here", lambda: station.reached_from(address), _OPEN_PORT)
        if station.has_data_port and not over_relay:
            yield _data_port(address, station)
        if station.has_data_port and station.open and not over_relay:
            yield _answered(
                address, "data port here", lambda: station.data_port_reached_from(address, name), _OPEN_DATA_PORT
            )
        yield _bandwidth(address, station)
    except UnknownCallError:
        text = "not tested any further: the release of that peer does not know how"
        yield warning(address, "link", text, "update Swarm there, to test data ports and bandwidth")


_OPEN_PORT = (
    "this peer will be reached over the connections that it opens; to avoid that, open its port (listen, data_port)"
)
_OPEN_DATA_PORT = (
    "weights will travel over the connections that this peer opens, or those for messages; for more speed set "
    "data_port here to a fixed port and open it"
)


def _answered(address: str, what: str, ask: Callable[[], str], action: str) -> Finding:
    """Whether the peer can connect, as it says.

    Raises:
        UnknownCallError: it does not know the question.
    """
    try:
        reason = printable(ask(), MAX_SHOWN)
    except UnknownCallError:
        raise
    except SwarmError as error:
        text = f"it was not told whether it can connect: {printable(str(error), MAX_SHOWN)}"
        return warning(address, what, text, "see the log of that peer")
    return warning(address, what, f"no: {reason}", action) if reason else ok(address, what, "yes")


def _data_port(address: str, station: Station) -> Finding:
    try:
        station.reach_data_port(address)
    except SwarmError as error:
        text = f"weights will travel over the connection for messages: {printable(str(error), MAX_SHOWN)}"
        return warning(address, "data port", text, "set data_port there to a fixed port, and open it in both firewalls")
    return ok(address, "data port", "reached")


def _bandwidth(address: str, station: Station) -> Finding:
    """The speed both ways.

    Raises:
        UnknownCallError: the peer does not know the question.
    """
    if not station.identified:
        return ok(address, "bandwidth", "not measured: that needs an identity")
    try:
        speeds = station.measure(address)
    except UnknownCallError:
        raise
    except SwarmError as error:
        text = f"not measured: {printable(str(error), MAX_SHOWN)}"
        return warning(address, "bandwidth", text, "repeat it later, or read the reason")
    if speeds is None:
        return ok(address, "bandwidth", "not measured: the other peers took a minute")
    return _speed(address, speeds)


def _speed(address: str, speeds: Speeds) -> Finding:
    slowest = min(speeds.sends, speeds.receives)
    text = (
        f"sends {_number(speeds.sends)} Mbit/s, receives {_number(speeds.receives)} Mbit/s; "
        f"a merge of 100 MiB with this peer alone takes about {_number(MODEL_MBIT / slowest)} s"
    )
    if slowest < LEAST:
        return warning(address, "bandwidth", text, f"below {LEAST:g} Mbit/s others give a peer up: find a faster line")
    return ok(address, "bandwidth", text)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"

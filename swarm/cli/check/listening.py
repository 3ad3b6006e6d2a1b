"""Listens as a peer would, so that others can be asked whether they can connect to this machine, and how fast."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from swarm.addresses import Address, name_of
from swarm.cli.check.parts import MORE_SECONDS, within
from swarm.errors import ExchangeError
from swarm.listening import listening as bind
from swarm.messages import DataChannelRequest
from swarm.transport.base import Handler, Way

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.identity.certificates import Certificate
    from swarm.messages import Envelope, FetchRequest, StreamHeader
    from swarm.transport.base import Frame, Sink
    from swarm.transport.data_channel import DataChannelTransport
    from swarm.transport.grpc import GrpcTransport
    from swarm.transport.grpc.measuring import Speeds

ANSWER_SECONDS = 10.0
"""For the answer of a peer, which has five seconds to connect."""
MEASURING_SECONDS = 60.0
"""In which all peers are measured, one after the other."""
INCARNATION = "check"


class Nobody(Handler):
    """Takes part in nothing."""

    def on_envelope(self, envelope: Envelope) -> None:
        pass

    def on_lost(self, address: str, reason: str) -> None:
        pass

    def open_sink(self, header: StreamHeader) -> Sink:
        raise ExchangeError("this is no peer: it only looks whether it can be reached")

    def serve(self, request: FetchRequest) -> Iterable[Frame]:
        raise ExchangeError("this is no peer: it only looks whether it can be reached")

    def status(self) -> dict[str, Any]:
        return {}


class Station:
    """This machine, as others reach it and are reached from it.

    Args:
        control: has started.
        data_channels: the same transport with data channels; None where they are off.
        settings: of the peer here.
        open_: whether it listens where the peer here will.
    """

    def __init__(
        self, control: GrpcTransport, data_channels: DataChannelTransport | None, settings: Settings, *, open_: bool
    ) -> None:
        self._control = control
        self._data_channels = data_channels
        identity = control.identity
        self._own = DataChannelRequest(settings.model_name, identity.name if identity else settings.name, INCARNATION)
        self.open = open_
        self.identified = identity is not None
        """Whether it has an identity, without which nobody measures with it."""
        self._turn = threading.Lock()
        self._until = time.monotonic() + MEASURING_SECONDS

    def turn_to_relay(self, address: str, reason: str) -> bool:
        """Ask the peer at ``address``, to which ``reason`` keeps from connecting, over a relay; False without one."""
        return self._control.asking.turn_to_relay(address, reason)

    def over_relay(self, address: str) -> bool:
        """Whether it is asked so."""
        return self._control.way(address) is Way.RELAY

    def status(self, address: str) -> Mapping[str, Any]:
        """What the peer at ``address`` tells of itself.

        Raises:
            SwarmError: it does not answer.
        """
        return self._control.asking.status(address, ANSWER_SECONDS)

    def certificate(self, address: str) -> Certificate | None:
        """The one that the peer at ``address`` shows; None without an identity here.

        Raises:
            SwarmError: it shows none that counts.
        """
        return self._control.asking.certificate(address, ANSWER_SECONDS)

    @property
    def has_data_port(self) -> bool:
        """Whether weights travel over data channels."""
        return self._data_channels is not None

    def reached_from(self, address: str) -> str:
        """Why the peer at ``address`` cannot connect to this machine, as that peer says; empty if it can.

        Raises:
            SwarmError: it does not say.
        """
        return self._control.asking.reached_from(address, ANSWER_SECONDS)

    def reach_data_port(self, address: str) -> None:
        """Open a data channel to the peer at ``address``, and close it.

        Raises:
            SwarmError: that cannot be done.
        """
        if self._data_channels is not None:
            self._data_channels.reach(address, self._own)

    def data_port_reached_from(self, address: str, name: str) -> str:
        """Why the peer at ``address``, called ``name``, cannot open a data channel to this machine; empty if it can.

        Raises:
            SwarmError: it does not say.
        """
        if self._data_channels is None:
            return ""
        # Where addresses have no names, connections to the data port need none either.
        holder = replace(self._own, sender=name_of(address) or name)
        return self._control.asking.data_port_reached_from(address, self._data_channels.issue(holder), ANSWER_SECONDS)

    def measure(self, address: str) -> Speeds | None:
        """How fast bytes travel to and from the peer at ``address``; None where the time for that is over.

        Raises:
            SwarmError: it is not measured there.
        """
        with self._turn:  # two at a time would share the line
            return self._control.asking.measure(address) if time.monotonic() < self._until else None


@contextmanager
def listening(settings: Settings) -> Iterator[Station | None]:
    """A station under ``settings``; None over a transport that knows no such questions, but has started.

    On a loopback address, or where a port is taken (a peer runs here), it listens elsewhere: then others can be
    reached from it, and are not asked to connect to it.

    Raises:
        ConfigurationError: the transport cannot be had under these settings, or does not start in time.
        AddressError: it cannot start, as where the hub of a relay does not let it in.
    """
    from swarm.plugins import PluginRegistry
    from swarm.session.wiring import transport_of
    from swarm.transport.data_channel import DataChannelTransport
    from swarm.transport.grpc import GrpcTransport

    elsewhere = replace(settings, listen="127.0.0.1:0", advertise=None, data_port=0)
    used = settings if not Address.parse(settings.listen).is_loopback and _free(settings) else elsewhere
    transport = transport_of(used, PluginRegistry(settings.disabled_plugins))
    data_channels = transport if isinstance(transport, DataChannelTransport) else None
    control = data_channels.control if data_channels else transport
    within(
        settings.failure_timeout + MORE_SECONDS,
        f"the transport {settings.transport!r} has not started",
        lambda: transport.start(Nobody()),
        lambda: transport.close(0.0),
    )
    try:
        if isinstance(control, GrpcTransport):
            yield Station(control, data_channels, used, open_=used is settings)
        else:
            yield None
    finally:
        transport.close(0.0)


def _free(settings: Settings) -> bool:
    """Whether the ports of the peer can be listened on; where not, the line about the port says why."""
    host, port = Address.parse(settings.listen).host, Address.parse(settings.listen).port
    try:
        for each in (port, settings.data_port):
            bind(host, each, 1).close()
    except OSError:
        return False
    return True

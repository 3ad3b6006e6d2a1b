"""The hub as the way of last resort, for pairs of peers of whom neither can connect to the other."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

from swarm.addresses import name_of
from swarm.clock import MonotonicClock
from swarm.errors import AddressError, TransportError
from swarm.text import printable
from swarm.transport import Relay
from swarm_nats.hub import Hub
from swarm_nats.tunnel import DATA, MESSAGES, Tunnel

if TYPE_CHECKING:
    from swarm_nats.settings import HubSettings
    from swarm_nats.tunnel import Listener


def token_of(address: str) -> str:
    """Under which the peer at ``address`` is reached: whoever knows the address can compute it."""
    return hashlib.sha256(f"swarm {address}".encode()).hexdigest()[:32]


class NatsRelay(Relay):
    """Reaches peers by the addresses that they have without the hub.

    Args:
        hub: where the hub is.
        patience: of a connection, in seconds.
        named: whether addresses begin with names, as with identities: places alone may be the same at two sites.
    """

    def __init__(self, hub: HubSettings, patience: float, *, named: bool) -> None:
        self._hub = hub
        self._patience = patience
        self._named = named
        self._lock = threading.Lock()
        self._tunnel: Tunnel | None = None
        self._listeners: dict[tuple[str, bytes], Listener] = {}

    @property
    def name(self) -> str:
        return f"the hub at {self._hub.shown}"

    def start(self, address: str, host: str, port: int, data_port: int | None) -> None:
        hub = Hub(self._hub, "relay", self._patience)
        tunnel = Tunnel(hub, self._hub.subject, self._patience, MonotonicClock(), token=token_of(address))
        tunnel.start(port, data_port, host)
        self._tunnel = tunnel

    def port(self, address: str, *, data: bool = False) -> int:
        way = address, DATA if data else MESSAGES
        if self._named and not name_of(address):
            raise AddressError(
                f"{address} cannot be reached directly, and on the hub peers are found by their names: give it as "
                f"name@{address}"
            )
        with self._lock:
            if self._tunnel is None:
                raise TransportError("the connection to the hub is closed")
            if way not in self._listeners:
                self._listeners[way] = self._tunnel.listen(token_of(address), way[1])
            return self._listeners[way].port

    def forget(self, address: str) -> None:
        with self._lock:
            listeners = [self._listeners.pop((address, purpose), None) for purpose in (MESSAGES, DATA)]
        for listener in filter(None, listeners):
            listener.close()

    def reason(self, address: str) -> str:
        tunnel = self._tunnel
        return printable(tunnel.reason(token_of(address)), 200) if tunnel else ""

    def close(self, linger: float) -> None:
        with self._lock:
            tunnel, self._tunnel = self._tunnel, None
            listeners = list(self._listeners.values())
            self._listeners.clear()
        for listener in listeners:
            listener.close()
        if tunnel is not None:
            tunnel.close(linger)

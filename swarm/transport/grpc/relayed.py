"""Peers that are reached over a relay, because no connection to them could be opened."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc

from swarm.addresses import join
from swarm.errors import TransportError
from swarm.transport.grpc.routes import DIAL_SECONDS
from swarm.transport.grpc.service import PROBE

if TYPE_CHECKING:
    from collections.abc import Callable

    from swarm.addresses import Address
    from swarm.clock import Clock
    from swarm.transport.data_channel.control import DataChannels
    from swarm.transport.grpc.reverse import ReverseChannel
    from swarm.transport.relay import Relay

RETRY_SECONDS = 300.0
"""After which a peer that was reached over the relay, and is lost, is tried directly again."""
HOST = "127.0.0.1"


class Relayed:
    """Who is reached over the relay. Without a relay nobody is.

    Args:
        relay: starts and ends with this.
        clock: for when a peer is tried directly again.
    """

    def __init__(self, relay: Relay | None, clock: Clock) -> None:
        self._relay = relay
        self._clock = clock
        self._lock = threading.Lock()
        self._since: dict[str, float] = {}
        """By address, when it could not be connected to."""
        self._directly: dict[str, str] = {}
        """By address, why it could not."""

    def start(self, address: str, host: str, port: int, data_channels: DataChannels | None) -> None:
        """Let others reach this peer over the relay too; as of ``Relay``.

        Raises:
            AddressError: the relay cannot be used.
        """
        if self._relay is not None:
            here = HOST if host in ("0.0.0.0", "::") else host  # noqa: S104 - nothing is bound
            self._relay.start(address, here, port, data_channels.port if data_channels else None)

    def close(self, linger: float) -> None:
        """End the relay."""
        if self._relay is not None:
            self._relay.close(linger)

    def over(self, address: str) -> bool:
        """Whether ``address`` is reached over the relay."""
        return address in self._since

    def turn(self, address: str, reason: str) -> bool:
        """No connection to ``address`` could be opened: whether it is to be reached over the relay from now on."""
        with self._lock:
            if self._relay is None or address in self._since:
                return False
            self._since[address], self._directly[address] = self._clock.now(), reason
            return True

    def lost(self, address: str, *, reached: bool) -> None:
        """A link over the relay has ended; if it was ``reached``, it may be tried again for a while."""
        with self._lock:
            since = self._since.get(address)
            if since is not None and not (reached and self._clock.now() - since < RETRY_SECONDS):
                self._forget(address)

    def forget(self, address: str) -> None:
        """Try ``address`` directly when it is needed again."""
        with self._lock:
            self._forget(address)

    def place(self, where: Address) -> Address:
        """Where a connection to a peer is to be opened.

        Raises:
            TransportError: the relay is closed.
        """
        if self._relay is None or not self.over(str(where)):
            return where
        return replace(where, host=HOST, port=self._relay.port(str(where)))

    def data_place(self, where: Address, port: int) -> tuple[str, int]:
        """Host and port for a data channel to a peer, which has said ``port``.

        Raises:
            TransportError: the relay is closed.
        """
        if self._relay is None or not self.over(str(where)):
            return where.host, port
        return HOST, self._relay.port(str(where), data=True)

    def told(self, address: str, reason: str) -> str:
        """Why ``address`` is lost, if it was reached over the relay."""
        if self._relay is None or not self.over(address):
            return reason
        with suppress(TransportError):
            reason = reason.replace(join(HOST, self._relay.port(address)), address)
        why = self._relay.reason(address) or reason
        directly = self._directly.get(address, reason)  # it may have been forgotten meanwhile
        return f"{address} cannot be reached over {self._relay.name}: {why}; directly: {directly}"

    def _forget(self, address: str) -> None:
        if self._since.pop(address, None) is not None and self._relay is not None:
            self._directly.pop(address, None)
            self._relay.forget(address)


class Probing:
    """Finds out whether a peer is there, over the relay: it can then be reached from there in the same way."""

    def begin(
        self, control: grpc.Channel | ReverseChannel, ready: Callable[[], None], ended: Callable[[Any], None]
    ) -> None:
        """Call ``ready`` once it has answered on ``control``, or ``ended`` with the call that has failed."""

        def answered(call: Any) -> None:
            if call.code() is grpc.StatusCode.OK:
                ready()
            else:
                ended(call)

        call: Any = control.unary_unary(PROBE, None, None).future(b"", timeout=2 * DIAL_SECONDS)
        call.add_done_callback(answered)

    def close(self) -> None:
        """There is nothing to end."""

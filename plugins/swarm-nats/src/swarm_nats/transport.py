"""The transport: gRPC between two peers of whom neither accepts connections, over the hub.

Each peer runs the transport of ``transport="grpc"`` on a loopback address, and a tunnel joins these addresses. So TLS,
certificates, limits and everything else between peers is as there.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from swarm.addresses import name_of, place_of
from swarm.clock import MonotonicClock
from swarm.errors import AddressError, SwarmError, UnreachablePeerError
from swarm.text import is_member_name, printable
from swarm.transport import DataChannelTransport, GrpcTransport, Handler, NoUpload, Transport, Way
from swarm_nats.hub import Hub
from swarm_nats.tunnel import DATA, TOKEN, Tunnel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from swarm.addresses import Address
    from swarm.identity import Identity
    from swarm.messages import Envelope, FetchRequest, StreamHeader
    from swarm.transport import DataChannels, Frame, Pacing, Sink, Upload
    from swarm_nats.settings import HubSettings
    from swarm_nats.tunnel import Listener

SCHEME = "nats:"

_log = logging.getLogger("swarm.transport")


class NatsTransport(Transport):
    """Carries envelopes and streams between peers that can only connect to a hub.

    An address is ``nats:`` and the token of a peer, with ``name@`` before it where the peer has an identity. A peer
    that was killed is noticed when something is sent to it, at the latest after ``failure_timeout`` seconds.

    Args:
        hub: where the hub is.
        failure_timeout: seconds of silence after which a peer counts as lost.
        identity: of this peer; as for gRPC.
        pacing: how fast weights may be sent.
        data_channel: whether weights travel in streams of their own through the hub, not in calls of gRPC.
    """

    def __init__(
        self,
        hub: HubSettings,
        *,
        failure_timeout: float = 10.0,
        identity: Identity | None = None,
        pacing: Pacing | None = None,
        data_channel: bool = True,
    ) -> None:
        # Its address is of this machine: others reach it through the tunnel, and must not try it on theirs.
        self._control = _Local(
            self._data_port_of,
            failure_timeout=failure_timeout,
            identity=identity,
            pacing=pacing,
            reachable=True,
        )
        self._inner: Transport = self._control
        if data_channel:
            self._inner = DataChannelTransport(self._control, "127.0.0.1", failure_timeout=failure_timeout)
        self._tunnel = Tunnel(Hub(hub, "transport", failure_timeout), hub.subject, failure_timeout, MonotonicClock())
        self._handler: Handler | None = None
        self._lock = threading.Lock()
        self._ways: dict[str, _Way] = {}
        """By address on the hub."""
        self._closed = False

    @property
    def identity(self) -> Identity | None:
        return self._inner.identity

    def start(self, handler: Handler) -> str:
        self._handler = handler
        local = self._inner.start(_Translating(handler, self._lost))
        try:
            self._tunnel.start(int(local.rpartition(":")[2]), self._control.data_port)
        except BaseException:
            self._inner.close(0.0)
            raise
        name = name_of(local)
        return f"{name}@{SCHEME}{self._tunnel.token}" if name else f"{SCHEME}{self._tunnel.token}"

    def send(self, address: str, envelope: Envelope) -> None:
        try:
            way = self._way(address)
        except SwarmError as error:
            self._report(address, str(error))
            return
        if way is not None:
            self._inner.send(way.local, envelope)

    def upload(
        self, address: str, header: StreamHeader, frames: Iterator[Frame], done: Callable[[str | None], None]
    ) -> Upload:
        try:
            way = self._way(address)
        except SwarmError as error:
            self._tunnel.report(partial(done, str(error)))
            return NoUpload()
        if way is None:
            return NoUpload()
        return self._inner.upload(way.local, header, frames, lambda reason: done(reason and way.told(reason)))

    def fetch(self, address: str, request: FetchRequest, timeout: float) -> Iterator[memoryview]:
        try:
            way = self._way(address)
        except SwarmError as error:
            raise UnreachablePeerError(str(error)) from error
        if way is None:
            raise UnreachablePeerError("this peer has closed its transport")
        with way.translated():
            yield from self._inner.fetch(way.local, request, timeout)

    def forget(self, address: str) -> None:
        with self._lock:
            way = self._ways.pop(address, None)
        if way is not None:
            self._inner.forget(way.local)
            way.close()

    def way(self, address: str) -> Way | None:
        with self._lock:
            way = self._ways.get(address)
        return Way.RELAY if way is not None and self._inner.way(way.local) else None

    def close(self, linger: float = 1.0) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            ways = list(self._ways.values())
            self._ways.clear()
        self._inner.close(linger)
        for way in ways:
            way.close()
        if self._handler is not None:
            self._tunnel.close(min(linger, 1.0))

    def _way(self, address: str) -> _Way | None:
        """The way to ``address``; None once this transport is closed.

        Raises:
            AddressError: it is no address on a hub.
        """
        name, place = name_of(address), place_of(address)
        token = place.removeprefix(SCHEME)
        whole = address in (place, f"{name}@{place}") and (not name or is_member_name(name))
        if not (whole and place.startswith(SCHEME) and TOKEN.fullmatch(token)):
            raise AddressError(
                f"{printable(address, 80)!r} is no address on the hub: expected {SCHEME} and 32 hexadecimal digits"
            )
        with self._lock:
            if self._closed:
                return None
            way = self._ways.get(address)
            if way is None:
                way = self._ways[address] = _Way(address, self._tunnel, token)
            return way

    def _lost(self, local: str, reason: str) -> None:
        """A link of gRPC has ended; one that was forgotten meanwhile is of no interest."""
        with self._lock:
            way = next((way for way in self._ways.values() if way.local == local), None)
            if way is None:
                return
            del self._ways[way.address]
        text = way.told(reason)
        way.close()
        if self._handler is not None:
            self._handler.on_lost(way.address, text)

    def _data_port_of(self, local: str) -> int:
        """The port of this machine that leads to the data port of a peer, by its address for gRPC.

        Raises:
            UnreachablePeerError: it was lost, or forgotten.
        """
        with self._lock:
            way = next((way for way in self._ways.values() if way.local == local), None)
            if way is None:
                raise UnreachablePeerError("there is no way to it any more")
            return way.data_port()

    def _report(self, address: str, reason: str) -> None:
        with self._lock:
            if self._closed or self._handler is None:
                return
            self._tunnel.report(partial(self._handler.on_lost, address, reason))


class _Local(GrpcTransport):
    """The transport on this machine, whose data channels go through the hub too.

    Args:
        data_port_of: a port of this machine that leads to the data port of the peer at an address.
        options: as of ``GrpcTransport``.
    """

    def __init__(self, data_port_of: Callable[[str], int], **options: Any) -> None:
        super().__init__(**options)
        self._data_port_of = data_port_of
        self.data_port: int | None = None
        """Of this peer; None without data channels."""

    def offer_data_channels(self, data_channels: DataChannels) -> None:
        self.data_port = data_channels.port
        super().offer_data_channels(data_channels)

    def data_place(self, where: Address, port: int) -> tuple[str, int]:
        return "127.0.0.1", self._data_port_of(str(where))


class _Way:
    """How one address on the hub is reached from this machine."""

    def __init__(self, address: str, tunnel: Tunnel, token: str) -> None:
        self.address = address
        self.listener: Listener = tunnel.listen(token)
        place = f"127.0.0.1:{self.listener.port}"
        name = name_of(address)
        self.local = f"{name}@{place}" if name else place
        """The address for gRPC."""
        self._place = place
        self._why = partial(tunnel.reason, token)
        self._listen_for_data = partial(tunnel.listen, token, DATA)
        self._data: Listener | None = None

    def data_port(self) -> int:
        """Of this machine, from which connections go to the data port of the peer."""
        if self._data is None:
            self._data = self._listen_for_data()
        return self._data.port

    def close(self) -> None:
        """Accept no more connections to it; those that are open stay."""
        self.listener.close()
        if self._data is not None:
            self._data.close()

    def told(self, reason: str) -> str:
        """A reason of gRPC with the address that the user knows, and why the tunnel broke where it did."""
        text = reason.replace(self.local, self.address).replace(self._place, place_of(self.address))
        why = self._why()
        return f"{text} (over the hub: {printable(why, 200)})" if why else text

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Errors of gRPC inside get the address that the user knows."""
        try:
            yield
        except SwarmError as error:
            raise type(error)(self.told(str(error))) from error


class _Translating(Handler):
    """Passes everything on but losses, whose addresses are those of this machine."""

    def __init__(self, handler: Handler, lost: Callable[[str, str], None]) -> None:
        self._handler = handler
        self._lost = lost

    def on_envelope(self, envelope: Envelope) -> None:
        self._handler.on_envelope(envelope)

    def on_lost(self, address: str, reason: str) -> None:
        self._lost(address, reason)

    def open_sink(self, header: StreamHeader) -> Sink:
        return self._handler.open_sink(header)

    def serve(self, request: FetchRequest) -> Iterable[Frame]:
        return self._handler.serve(request)

    def status(self) -> dict[str, Any]:
        return self._handler.status()

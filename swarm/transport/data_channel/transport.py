"""The transport that sends weights over data channels, and everything else over the one it is made with."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from swarm.clock import MonotonicClock
from swarm.errors import ExchangeError, NoDataChannelError, TransportError
from swarm.messages import DataChannelOffer, DataChannelRequest
from swarm.proxy import Proxies
from swarm.transport.base import Transport
from swarm.transport.data_channel.channel import DataChannel
from swarm.transport.data_channel.control import DataChannels
from swarm.transport.data_channel.dialling import Awaited, Dialler
from swarm.transport.data_channel.listener import Listener
from swarm.transport.data_channel.reception import Reception
from swarm.transport.data_channel.tokens import Tokens
from swarm.transport.data_channel.upload import DataChannelUpload
from swarm.transport.data_channel.ways import Ways

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swarm.addresses import Address
    from swarm.clock import Clock
    from swarm.identity import Identity
    from swarm.messages import DialBackRequest, Envelope, FetchRequest, StreamHeader
    from swarm.transport.base import Frame, Handler, Upload, Way
    from swarm.transport.data_channel.connection import Connection
    from swarm.transport.data_channel.control import DataChannelControl

CLOSING_SECONDS = 1.0
"""For which ``close`` waits for the threads of data channels."""


class DataChannelTransport(Transport):
    """Carries uploads over TCP connections of their own, straight from and into memory.

    A data channel is asked for over ``control``, opened with the token that comes back, and kept for the streams that
    follow. Where it cannot be had, uploads travel over ``control`` as if there were no data channels; which way is
    logged once for each address, and a data channel is tried again after ``RETRY_SECONDS``. One that breaks in the
    middle of a stream fails that upload.

    Args:
        control: carries all that is no upload, and authenticates peers.
        host: to listen on for data channels, the same as ``control``.
        port: of data channels here; 0 takes a free one.
        failure_timeout: as of ``control``.
        clock: for what is remembered.
        proxies: for connections to others; without them those of the environment.
    """

    def __init__(
        self,
        control: DataChannelControl,
        host: str,
        *,
        port: int = 0,
        failure_timeout: float = 10.0,
        clock: Clock | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        clock = clock or MonotonicClock()
        self.control = control
        """Carries all that is no upload."""
        self._host = host
        self._port = port
        self._failure_timeout = failure_timeout
        self._dialler = Dialler(control, failure_timeout, self.issue, proxies or Proxies())
        self._tokens = Tokens(clock)
        self._clock = clock
        self._ways = Ways(clock)
        self._lock = threading.Lock()
        self._channels: dict[tuple[str, DataChannelRequest], list[DataChannel]] = {}
        self._resting: set[DataChannel] = set()
        self._closed = False
        self._listener: Listener | None = None

    @property
    def identity(self) -> Identity | None:
        return self.control.identity

    def start(self, handler: Handler) -> str:
        def serve(connection: Connection, holder: DataChannelRequest) -> None:
            if isinstance(holder, Awaited):
                holder.hand_over(connection)
            else:
                Reception(connection, holder, self.control.decode_header, handler.open_sink).run()

        def dial_back(address: Address, asked: DialBackRequest) -> None:
            try:
                listener.adopt(self._dialler.dial_back(address, asked.offer), asked.request)
            except (TransportError, RuntimeError) as error:
                raise ExchangeError(str(error)) from error

        listener = Listener(
            self._host,
            self._port,
            self._failure_timeout,
            self._tokens.redeem,
            serve,
            self.control.identity,
            self._clock,
        )
        self._listener = listener

        def reach(address: Address, offer: DataChannelOffer) -> None:
            self._dialler.dial_back(address, offer).close()

        self.control.offer_data_channels(DataChannels(listener.port, self.issue, dial_back, reach, self._drop))
        try:
            return self.control.start(handler)
        except BaseException:
            listener.close()
            raise

    def send(self, address: str, envelope: Envelope) -> None:
        self.control.send(address, envelope)

    def upload(
        self, address: str, header: StreamHeader, frames: Iterator[Frame], done: Callable[[str | None], None]
    ) -> Upload:
        if self._ways.barred(address):
            return self.control.upload(address, header, frames, done)
        upload = DataChannelUpload(self.control, address, header, frames, partial(self._tell, done))
        with self._lock:
            if self._closed:
                return self.control.upload(address, header, frames, done)
            self._channel(address, DataChannelRequest(header.session, header.sender, header.incarnation)).begin(upload)
        return upload

    def fetch(self, address: str, request: FetchRequest, timeout: float) -> Iterator[memoryview]:
        return self.control.fetch(address, request, timeout)

    def forget(self, address: str) -> None:
        self.control.forget(address)
        self._drop(address)

    def way(self, address: str) -> Way | None:
        return self.control.way(address)

    def close(self, linger: float = 1.0) -> None:
        with self._lock:
            self._closed = True
            channels = [channel for channels in self._channels.values() for channel in channels]
        for channel in channels:
            channel.close()
        self.control.close(linger)
        if self._listener is not None:
            self._listener.close()
        deadline = time.monotonic() + CLOSING_SECONDS
        for channel in channels:
            channel.join(max(0.0, deadline - time.monotonic()))

    def issue(self, holder: DataChannelRequest) -> DataChannelOffer:
        """A token for a connection of ``holder`` to this peer, which has started.

        Raises:
            ExchangeError: it has not, or too many are waiting to be used.
        """
        if self._listener is None:
            raise ExchangeError("it is not listening yet")
        return DataChannelOffer(self._listener.port, self._tokens.issue(holder))

    def reach(self, address: str, me: DataChannelRequest) -> None:
        """Open a data channel to the peer at ``address``, and close it.

        Raises:
            NoDataChannelError: it cannot be had.
            UntrustedPeerError: whoever is there is not to be trusted.
        """
        self._dialler.dial(address, me).close()

    def _channel(self, address: str, me: DataChannelRequest) -> DataChannel:
        """One that rests, or a new one."""
        channels = self._channels.setdefault((address, me), [])
        for channel in self._resting.intersection(channels):
            self._resting.discard(channel)
            if channel.fresh():
                return channel
            channel.close()
        channel = DataChannel(partial(self._dial, address, me), self._rest, partial(self._remove, address, me))
        channels.append(channel)
        return channel

    def _dial(self, address: str, me: DataChannelRequest) -> Connection:
        try:
            connection = self._dialler.dial(address, me)
        except NoDataChannelError as error:
            if error.lasting:
                self._ways.bar(address, str(error))
            raise
        self._ways.opened(address)
        return connection

    def _rest(self, channel: DataChannel) -> None:
        with self._lock:
            if not channel.closed:
                self._resting.add(channel)

    def _remove(self, address: str, me: DataChannelRequest, channel: DataChannel) -> None:
        with self._lock:
            self._resting.discard(channel)
            channels = self._channels[address, me]
            channels.remove(channel)
            if not channels:
                del self._channels[address, me]

    def _drop(self, address: str) -> None:
        """End the data channels to ``address``, and what was learned of it."""
        self._ways.forget(address)
        with self._lock:
            channels = [
                channel for (there, _), channels in self._channels.items() if there == address for channel in channels
            ]
            self._resting.difference_update(channels)
        for channel in channels:
            channel.close()

    def _tell(self, done: Callable[[str | None], None], reason: str | None) -> None:
        if not self._closed:
            done(reason)

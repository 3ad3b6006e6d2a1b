"""The connecting side: ask for a data channel, connect, show the token."""

from __future__ import annotations

import queue
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from swarm.addresses import Address, name_of
from swarm.errors import (
    AddressError,
    ExchangeError,
    NoDataChannelError,
    TransportError,
    UnreachablePeerError,
    UntrustedPeerError,
)
from swarm.messages import DataChannelRequest, DialBackRequest
from swarm.transport.data_channel.headers import MAGIC, PREAMBLE, VERSION, WELCOME
from swarm.transport.data_channel.security import connect, connection_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from swarm.messages import DataChannelOffer
    from swarm.proxy import Proxies
    from swarm.transport.data_channel.connection import Connection
    from swarm.transport.data_channel.control import DataChannelControl
    from swarm.transport.data_channel.security import SecureStream

PATIENCE = 5.0
"""Seconds that opening a data channel may take, or half the failure timeout where that is less."""


@dataclass(frozen=True, slots=True)
class Awaited(DataChannelRequest):
    """Holds the token of a connection that a peer opens to this one, which will send on it."""

    opened: queue.SimpleQueue[Connection] = field(default_factory=queue.SimpleQueue, compare=False)
    given_up: threading.Event = field(default_factory=threading.Event, compare=False)

    def hand_over(self, connection: Connection) -> None:
        """Let whoever awaits it have the connection; returns once it is not used any more."""
        self.opened.put(connection)
        if not self.given_up.is_set():
            connection.ended.wait()

    def give_up(self) -> None:
        """Await it no longer; one that has come meanwhile is closed."""
        self.given_up.set()
        with suppress(queue.Empty):
            self.opened.get_nowait().close()


class Dialler:
    """Opens data channels to others.

    Args:
        control: over which they are asked.
        failure_timeout: as of ``control``.
        expect: the port of this peer, and a token for a connection that comes to it.
        proxies: for connections to others.
    """

    def __init__(
        self,
        control: DataChannelControl,
        failure_timeout: float,
        expect: Callable[[DataChannelRequest], DataChannelOffer],
        proxies: Proxies,
    ) -> None:
        self._control = control
        self._proxies = proxies
        self._expect = expect
        self._failure_timeout = failure_timeout
        self._patience = min(PATIENCE, failure_timeout / 2)

    def dial(self, address: str, me: DataChannelRequest) -> Connection:
        """A connection to the peer at ``address``, on which it awaits streams of ``me``.

        Raises:
            NoDataChannelError: it cannot be had.
            UntrustedPeerError: whoever is there is not to be trusted, so weights must not take another way either.
        """
        deadline = time.monotonic() + self._patience
        try:
            if self._control.is_reversed(address):
                return self._dialled_back(address, me, deadline)
            offer = self._control.ask_data_channel(address, me, self._patience)
            where = Address.parse(address)
        except (AddressError, UnreachablePeerError) as error:
            raise NoDataChannelError(str(error), lasting=False) from error
        except (TransportError, ExchangeError) as error:
            raise NoDataChannelError(str(error)) from error
        return self._connect(where, offer, deadline)

    def dial_back(self, address: Address, offer: DataChannelOffer) -> Connection:
        """A connection to the peer at ``address``, which will send on it.

        Raises:
            NoDataChannelError: it cannot be had.
            UntrustedPeerError: whoever is there is not to be trusted.
        """
        return self._connect(address, offer, time.monotonic() + self._patience)

    def _dialled_back(self, address: str, me: DataChannelRequest, deadline: float) -> Connection:
        """A connection that the peer at ``address`` opens, because nobody can open one to it.

        Raises:
            NoDataChannelError: it did not come in time.
            TransportError: the peer cannot be asked.
            ExchangeError: it refuses, or could not open it.
        """
        # Where addresses have no names, connections to the data port need none either.
        awaited = Awaited(me.session, name_of(address) or address, me.incarnation)
        try:
            self._control.ask_to_dial_back(address, DialBackRequest(me, self._expect(awaited)), self._patience)
            return awaited.opened.get(timeout=_left(deadline))
        except queue.Empty:
            awaited.give_up()
            raise NoDataChannelError(f"{address} has opened no connection in time") from None
        except (TransportError, ExchangeError):
            awaited.give_up()
            raise

    def _connect(self, where: Address, offer: DataChannelOffer, deadline: float) -> Connection:
        try:
            sock = self._proxies.connect(*self._control.data_place(where, offer.port), _left(deadline))
        except (OSError, OverflowError) as error:
            raise NoDataChannelError(_unopened(offer.port, error)) from error
        try:
            identity = self._control.identity
            stream: socket.socket | SecureStream = sock
            if identity is not None:
                stream = connect(sock, identity, where.name, _left(deadline))
            stream.settimeout(_left(deadline))
            stream.sendall(PREAMBLE.pack(MAGIC, VERSION, offer.token))
            if stream.recv(len(WELCOME)) != WELCOME:
                raise ConnectionError("the token was not taken")
            return connection_of(stream, self._failure_timeout)
        except UntrustedPeerError:
            sock.close()
            raise
        except OSError as error:
            sock.close()
            raise NoDataChannelError(_unopened(offer.port, error)) from error


def _left(deadline: float) -> float:
    """A time limit for what comes next; never 0, which would mean not to wait at all."""
    return max(0.01, deadline - time.monotonic())


def _unopened(port: int, error: Exception) -> str:
    what = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{what.lower()}; for more speed let its port {port} be reached (data_port sets it there)"

"""The connecting side: ask for a data channel, connect, show the token."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from swarm.addresses import Address
from swarm.errors import (
    AddressError,
    ExchangeError,
    NoDataChannelError,
    TransportError,
    UnreachablePeerError,
    UntrustedPeerError,
)
from swarm.transport.data_channel.headers import MAGIC, PREAMBLE, VERSION, WELCOME
from swarm.transport.data_channel.security import connect, connection_of

if TYPE_CHECKING:
    from swarm.messages import DataChannelRequest
    from swarm.transport.data_channel.connection import Connection
    from swarm.transport.data_channel.control import DataChannelControl
    from swarm.transport.data_channel.security import SecureStream

PATIENCE = 5.0
"""Seconds that opening a data channel may take, or half the failure timeout where that is less."""


class Dialler:
    """Opens data channels to others.

    Args:
        control: over which they are asked.
        failure_timeout: as of ``control``.
    """

    def __init__(self, control: DataChannelControl, failure_timeout: float) -> None:
        self._control = control
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
            offer = self._control.ask_data_channel(address, me, self._patience)
            where = Address.parse(address)
        except (AddressError, UnreachablePeerError) as error:
            raise NoDataChannelError(str(error), lasting=False) from error
        except (TransportError, ExchangeError) as error:
            raise NoDataChannelError(str(error)) from error
        try:
            sock = socket.create_connection((where.host, offer.port), _left(deadline))
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

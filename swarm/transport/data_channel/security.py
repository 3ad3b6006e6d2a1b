"""TLS 1.3 on a data channel, with the certificates that the control channel uses.

Without an identity a data channel is plain TCP, and its token is all that a connection shows.
"""

from __future__ import annotations

import socket
import ssl
import time
from typing import TYPE_CHECKING

from swarm.errors import DataChannelError, UntrustedPeerError
from swarm.transport.data_channel.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swarm.identity import Identity
    from swarm.transport.base import Buffer

JOINED_BYTES = 4096
"""Buffers up to this size are sent with what follows them: each write is at least one record."""


def accept(sock: socket.socket, identity: Identity, seconds: float) -> tuple[ssl.SSLSocket, str]:
    """The encrypted end of a connection that came in, and the name of the peer at the other one.

    Raises:
        UntrustedPeerError: the other side has shown no certificate that counts.
        OSError: the connection ended, or the handshake took longer than ``seconds``.
    """
    sock.settimeout(seconds)
    secure = identity.server_context.wrap_socket(sock, server_side=True)
    try:
        return secure, _peer(secure, identity)
    except UntrustedPeerError:
        secure.close()
        raise


def connect(sock: socket.socket, identity: Identity, name: str, seconds: float) -> ssl.SSLSocket:
    """The encrypted end of a connection to the peer called ``name``; any peer of the consortium where that is empty.

    Raises:
        UntrustedPeerError: the other side has shown no certificate that counts, or that of another peer.
        OSError: the connection ended, or the handshake took longer than ``seconds``.
    """
    sock.settimeout(seconds)
    secure = identity.client_context.wrap_socket(sock)
    try:
        found = _peer(secure, identity)
        if name not in ("", found):
            raise UntrustedPeerError(f"the certificate there is that of {found}, not of {name}")
        return secure
    except UntrustedPeerError:
        secure.close()
        raise


def _peer(secure: ssl.SSLSocket, identity: Identity) -> str:
    return identity.trust(secure.getpeercert(binary_form=True) or b"").name


class SecureConnection(Connection):
    """A connection whose bytes are encrypted."""

    _socket: ssl.SSLSocket

    def send(self, buffers: Sequence[Buffer]) -> None:
        try:
            small: list[memoryview] = []
            for buffer in buffers:
                view = memoryview(buffer).cast("B")
                if len(view) <= JOINED_BYTES:
                    small.append(view)
                    continue
                if small:
                    self._socket.sendall(b"".join(small))
                    small.clear()
                self._socket.sendall(view)
            if small:
                self._socket.sendall(b"".join(small))
        except OSError as error:
            raise self._ended(error) from error

    def receive_into(self, memory: memoryview, progress: Callable[[], None] | None = None) -> None:
        filled, told = 0, time.monotonic()
        while filled < len(memory):
            try:
                count = self._socket.recv_into(memory[filled:])
            except OSError as error:
                raise self._ended(error) from error
            if count == 0:
                raise DataChannelError("the other side closed the connection")
            filled += count
            # What is received at once is a record, of 16 KiB: too little to tell of each.
            if progress and filled < len(memory) and (now := time.monotonic()) - told >= self._progress_seconds:
                told = now
                progress()

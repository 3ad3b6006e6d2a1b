"""The listening side: admits connections that show a token, and nobody else."""

from __future__ import annotations

import logging
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from swarm.errors import AddressError, DataChannelError, UntrustedPeerError
from swarm.transport.data_channel.connection import Connection
from swarm.transport.data_channel.fork import keep_from_children
from swarm.transport.data_channel.headers import MAGIC, PREAMBLE, VERSION, WELCOME
from swarm.transport.data_channel.security import SecureConnection, accept

if TYPE_CHECKING:
    from collections.abc import Callable

    from swarm.identity import Identity
    from swarm.messages import DataChannelRequest

AUTHENTICATION_SECONDS = 5.0
"""In which a connection must have shown its token."""
MAX_STRANGERS = 64
"""Connections that have not shown one yet."""
MAX_CHANNELS = 1024
"""Connections in all; others are closed at once."""

_log = logging.getLogger("swarm.transport")


class Listener:
    """Listens on a thread of its own, and has one more for each connection.

    With an identity a connection must show the certificate of the peer that its token was issued to.

    Args:
        host: to listen on; a name, an IP address or a wildcard.
        port: 0 takes a free one.
        failure_timeout: seconds after which a silent host counts as gone.
        redeem: the holder of a token, or None.
        serve: uses an admitted connection until it ends.
        identity: of this peer; None: nothing is encrypted.

    Raises:
        AddressError: it cannot listen there.
    """

    def __init__(
        self,
        host: str,
        port: int,
        failure_timeout: float,
        redeem: Callable[[bytes], DataChannelRequest | None],
        serve: Callable[[Connection, DataChannelRequest], None],
        identity: Identity | None = None,
    ) -> None:
        self._identity = identity
        self._failure_timeout = failure_timeout
        self._redeem = redeem
        self._serve = serve
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._strangers: set[socket.socket] = set()
        self._connections: set[Connection] = set()
        try:
            self._listener = _listen(host, port)
        except OSError as error:
            raise AddressError(
                f"the data channel cannot listen on port {port} of {host}: {error.strerror}; choose another data_port, "
                "0 for any free one, or turn data_channel off"
            ) from error
        keep_from_children(self._listener)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="swarm-data-channel-accept", daemon=True).start()

    def close(self) -> None:
        """Stop listening and end all connections."""
        self._closed.set()
        with suppress(OSError):  # some systems cannot shut a listener down; closing wakes it there
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._connections:
                connection.break_()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:  # closed, or out of descriptors
                self._closed.wait(0.1)
                continue
            with self._lock:
                room = len(self._strangers) < MAX_STRANGERS and len(self._connections) < MAX_CHANNELS
                if room:
                    self._strangers.add(sock)
            if room:
                keep_from_children(sock)
                threading.Thread(
                    target=self._attend, args=(sock,), name="swarm-data-channel-receive", daemon=True
                ).start()
            else:
                sock.close()

    def _attend(self, sock: socket.socket) -> None:
        connection: Connection | None = None
        holder: DataChannelRequest | None = None
        plain = sock
        try:
            deadline = time.monotonic() + AUTHENTICATION_SECONDS
            name = None
            if self._identity is not None:
                sock, name = accept(sock, self._identity, AUTHENTICATION_SECONDS)
                keep_from_children(sock)
            holder = self._redeemed(sock, deadline)
            if holder is not None and name not in (None, holder.sender):
                raise UntrustedPeerError(f"the certificate of {name} came with the token of {holder.sender}")
            if holder is not None:
                connection = (SecureConnection if self._identity else Connection)(sock, self._failure_timeout)
        except (OSError, UntrustedPeerError) as error:
            _log.debug("a connection to the data port was refused: %s", error)
        finally:
            with self._lock:
                self._strangers.discard(plain)
        if connection is None or holder is None:
            sock.close()
            return
        self._admit(connection, holder)

    def _admit(self, connection: Connection, holder: DataChannelRequest) -> None:
        with self._lock:
            self._connections.add(connection)
        try:
            if not self._closed.is_set():
                connection.send([WELCOME])
                self._serve(connection, holder)
        except DataChannelError as broken:
            _log.debug("a data channel of %s ended: %s", holder.sender, broken)
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _redeemed(self, sock: socket.socket, deadline: float) -> DataChannelRequest | None:
        """The holder of the token that a connection shows before ``deadline``; None where it shows none."""
        data = b""
        with suppress(OSError):
            while len(data) < PREAMBLE.size and (left := deadline - time.monotonic()) > 0:
                sock.settimeout(left)
                if not (more := sock.recv(PREAMBLE.size - len(data))):
                    return None
                data += more
        if len(data) < PREAMBLE.size:
            return None
        magic, version, token = PREAMBLE.unpack(data)
        return self._redeem(token) if (magic, version) == (MAGIC, VERSION) else None


def _listen(host: str, port: int) -> socket.socket:
    family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    both = host == "::" and socket.has_dualstack_ipv6()
    return socket.create_server(place[:2], family=family, backlog=MAX_STRANGERS, dualstack_ipv6=both)

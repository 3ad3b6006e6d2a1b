"""The listening side: admits connections that show a token, and nobody else."""

from __future__ import annotations

import logging
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from swarm.errors import AddressError, DataChannelError
from swarm.transport.data_channel.connection import Connection
from swarm.transport.data_channel.fork import keep_from_children
from swarm.transport.data_channel.headers import MAGIC, PREAMBLE, VERSION, WELCOME

if TYPE_CHECKING:
    from collections.abc import Callable

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

    For TLS, ``Connection`` would wrap the socket, here before the preamble and in ``Dialler`` before it is sent, with
    the certificate that the control channel uses. A token then holds the fingerprint of the certificate that asked for
    it, and a connection that shows another one is closed: who a peer is carries over from the control channel.

    Args:
        host: to listen on; a name, an IP address or a wildcard.
        port: 0 takes a free one.
        failure_timeout: seconds after which a silent host counts as gone.
        redeem: the holder of a token, or None.
        serve: uses an admitted connection until it ends.

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
    ) -> None:
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
        try:
            holder = self._authenticate(sock)
        finally:
            with self._lock:
                self._strangers.discard(sock)
        if holder is None:
            sock.close()
            return
        with suppress(OSError):  # it ended already
            self._admit(Connection(sock, self._failure_timeout), holder)

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

    def _authenticate(self, sock: socket.socket) -> DataChannelRequest | None:
        deadline = time.monotonic() + AUTHENTICATION_SECONDS
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

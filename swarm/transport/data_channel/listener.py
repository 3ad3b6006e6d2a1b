"""The listening side: admits connections that show a token, and nobody else."""

from __future__ import annotations

import logging
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from swarm.addresses import block_of
from swarm.errors import AddressError, DataChannelError, LimitError, UntrustedPeerError
from swarm.listening import listening
from swarm.transport.data_channel.fork import keep_from_children
from swarm.transport.data_channel.headers import MAGIC, PREAMBLE, VERSION, WELCOME
from swarm.transport.data_channel.security import accept, connection_of
from swarm.transport.descriptors import share
from swarm.transport.notices import Notices

if TYPE_CHECKING:
    from collections.abc import Callable

    from swarm.clock import Clock
    from swarm.identity import Identity
    from swarm.messages import DataChannelRequest
    from swarm.transport.data_channel.connection import Connection
    from swarm.transport.data_channel.security import SecureStream

AUTHENTICATION_SECONDS = 5.0
"""In which a connection must have shown its token."""
MAX_STRANGERS = 128
"""Connections that have not shown one yet."""
MAX_STRANGERS_OF_AN_ADDRESS = 64
"""Of one IPv4 address, or one /64 of IPv6, which the peers of one machine or behind one router share."""
MAX_CHANNELS = 1024
"""Connections in all, or fewer where the process has few descriptors; others are closed at once."""
MAX_CHANNELS_OF_A_PEER = 64
"""Connections that one peer has opened; it needs two in each session."""

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
        clock: for how often a refusal is told.

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
        identity: Identity | None,
        clock: Clock,
    ) -> None:
        self._identity = identity
        self._failure_timeout = failure_timeout
        self._redeem = redeem
        self._serve = serve
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._strangers: dict[socket.socket, str] = {}
        """With the address, or the /64 of IPv6, that each comes from."""
        self._connections: dict[Connection, str] = {}
        """With the peer that opened each."""
        self._most = share(MAX_CHANNELS)
        self._notices = Notices(clock)
        try:
            self._listener = listening(host, port, MAX_STRANGERS)
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
                sock, (host, *_) = self._listener.accept()
            except OSError:  # closed, or out of descriptors
                self._closed.wait(0.1)
                continue
            with self._lock:
                refusal = self._refusal(block_of(host))
                if not refusal:
                    self._strangers[sock] = block_of(host)
            if not refusal:
                keep_from_children(sock)
                refusal = self._begin(sock, host)
            if refusal:
                sock.close()
                self._tell(host, refusal)

    def _begin(self, sock: socket.socket, host: str) -> str:
        """Attend to a connection on a thread of its own; why that cannot be, empty where it can."""
        attend = threading.Thread(
            target=self._attend, args=(sock, host), name="swarm-data-channel-receive", daemon=True
        )
        try:
            attend.start()
        except RuntimeError as error:  # there are too many on this machine
            with self._lock:
                self._strangers.pop(sock, None)
            return str(error)
        return ""

    def _refusal(self, block: str) -> str:
        """Why there is no room for a connection from an address of ``block``; empty where there is."""
        if len(self._connections) >= self._most:
            return f"there are {self._most} data channels already"
        if len(self._strangers) >= MAX_STRANGERS:
            return f"{MAX_STRANGERS} connections have not shown their token yet"
        if list(self._strangers.values()).count(block) >= MAX_STRANGERS_OF_AN_ADDRESS:
            return f"{MAX_STRANGERS_OF_AN_ADDRESS} connections from {block} have not shown their token yet"
        return ""

    def _tell(self, host: str, reason: object) -> None:
        if not self._closed.is_set():
            self._notices.warn(host, f"a connection from {host} to the data port {self.port} is refused: {reason}")

    def _attend(self, sock: socket.socket, host: str) -> None:
        connection: Connection | None = None
        holder: DataChannelRequest | None = None
        stream: socket.socket | SecureStream = sock
        try:
            deadline = time.monotonic() + AUTHENTICATION_SECONDS
            name = None
            if self._identity is not None:
                stream, name = accept(sock, self._identity, AUTHENTICATION_SECONDS)
            holder = self._redeemed(stream, deadline)
            if holder is None:
                raise UntrustedPeerError("it showed no token of this peer")
            if name not in (None, holder.sender):
                raise UntrustedPeerError(f"the certificate of {name} came with the token of {holder.sender}")
            self._require_room(holder)
            connection = connection_of(stream, self._failure_timeout)
        except (OSError, UntrustedPeerError, LimitError) as error:
            self._tell(host, error)
        finally:
            with self._lock:
                self._strangers.pop(sock, None)
        if connection is None or holder is None:
            sock.close()
            return
        self._use(connection, holder, welcome=True)

    def adopt(self, connection: Connection, holder: DataChannelRequest) -> None:
        """Take the streams of ``holder`` from a connection that this peer has opened; returns at once.

        Raises:
            LimitError: the holder has as many connections as it may.
        """
        try:
            self._require_room(holder)
            threading.Thread(
                target=self._use, args=(connection, holder), name="swarm-data-channel-receive", daemon=True
            ).start()
        except (LimitError, RuntimeError):  # or there are too many threads on this machine
            connection.close()
            raise

    def _require_room(self, holder: DataChannelRequest) -> None:
        with self._lock:
            if list(self._connections.values()).count(holder.sender) >= MAX_CHANNELS_OF_A_PEER:
                raise LimitError(f"{holder.sender} has {MAX_CHANNELS_OF_A_PEER} data channels already")

    def _use(self, connection: Connection, holder: DataChannelRequest, *, welcome: bool = False) -> None:
        with self._lock:
            self._connections[connection] = holder.sender
        try:
            if not self._closed.is_set():
                if welcome:
                    connection.send([WELCOME])
                self._serve(connection, holder)
        except (DataChannelError, UntrustedPeerError) as broken:
            _log.debug("a data channel of %s ended: %s", holder.sender, broken)
        finally:
            with self._lock:
                self._connections.pop(connection, None)
            connection.close()

    def _redeemed(self, stream: socket.socket | SecureStream, deadline: float) -> DataChannelRequest | None:
        """The holder of the token that a connection shows before ``deadline``; None where it shows none."""
        data = b""
        with suppress(OSError):
            while len(data) < PREAMBLE.size and (left := deadline - time.monotonic()) > 0:
                stream.settimeout(left)
                if not (more := stream.recv(PREAMBLE.size - len(data))):
                    return None
                data += more
        if len(data) < PREAMBLE.size:
            return None
        magic, version, token = PREAMBLE.unpack(data)
        return self._redeem(token) if (magic, version) == (MAGIC, VERSION) else None

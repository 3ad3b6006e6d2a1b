"""TLS 1.3 on a data channel, with the certificates that the control channel uses.

Without an identity a data channel is plain TCP, and its token is all that a connection shows.

Bytes are encrypted and decrypted in memory, and pass through the socket in batches of several records. On a socket of
Python's ``ssl`` each record, of 16 KiB, would be two calls of the system where it is received and one where it is sent,
and would wake the receiver.
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from swarm.errors import DataChannelError, UntrustedPeerError
from swarm.transport.data_channel.connection import ENDED, Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from swarm.identity import Certificate, Identity
    from swarm.transport.base import Buffer

Result = TypeVar("Result")

RECORD_BYTES = 2**14
"""The most bytes in a record."""
ADDED_BYTES = 22
"""What a record is longer than its bytes: header, type and authentication tag. Padding would add to that."""
BATCH_BYTES = 8 * RECORD_BYTES
"""Encrypted, and received, at a time: few calls, and what was just copied is still in the processor's cache."""
JOINED_BYTES = 4096
"""Buffers up to this size are joined with the small ones next to them: each is at least one record."""


class SecureStream:
    """A socket whose bytes are encrypted. As a socket, it is used by one thread.

    Args:
        sock: connected; this object does not close it when it fails.
        context: of this side.
        server_side: whether the connection came in.
        seconds: until the handshake must have ended.

    Raises:
        OSError: the handshake failed, took too long, or the connection ended.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, *, server_side: bool, seconds: float) -> None:
        self.sock = sock
        self.incoming = ssl.MemoryBIO()
        """Received, and not decrypted yet."""
        self.outgoing = ssl.MemoryBIO()
        """Encrypted, and not sent yet."""
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=server_side)
        self.require_trust: Callable[[], Certificate]
        """Whose certificate the other side has shown; raises an ``UntrustedPeerError`` if it does not count."""
        self.settimeout(seconds)
        self._exchange(self.tls.do_handshake)

    def settimeout(self, seconds: float) -> None:
        """Within this time from now on all calls that follow must end, or raise ``TimeoutError``."""
        self._deadline = time.monotonic() + seconds

    def sendall(self, data: bytes) -> None:
        """Send ``data``. Raises ``OSError`` where that fails."""
        self._exchange(lambda: self.tls.write(data))

    def recv(self, size: int) -> bytes:
        """At most ``size`` bytes, and none where the other side has ended. Raises ``OSError`` where that fails."""
        return self._exchange(lambda: self.tls.read(size))

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()

    def _exchange(self, step: Callable[[], Result]) -> Result:
        """Repeat ``step`` until it has received what it needs."""
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                self._flush()
                self._limit()
                self._take(self.sock.recv(RECORD_BYTES))
            except ssl.SSLError:
                with suppress(OSError):  # it tells the other side why
                    self._flush()
                raise
            else:
                self._flush()
                return done

    def _take(self, data: bytes) -> None:
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def _flush(self) -> None:
        if self.outgoing.pending:
            self._limit()
            self.sock.sendall(self.outgoing.read())

    def _limit(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the other side is too slow")
        self.sock.settimeout(left)


def accept(sock: socket.socket, identity: Identity, seconds: float) -> tuple[SecureStream, str]:
    """The encrypted end of a connection that came in, and the name of the peer at the other one.

    Raises:
        UntrustedPeerError: the other side has shown no certificate that counts.
        OSError: the connection ended, or the handshake took longer than ``seconds``.
    """
    secure = SecureStream(sock, identity.server_context, server_side=True, seconds=seconds)
    return secure, _trusted(secure, identity)


def connect(sock: socket.socket, identity: Identity, name: str, seconds: float) -> SecureStream:
    """The encrypted end of a connection to the peer called ``name``; any peer of the consortium where that is empty.

    Raises:
        UntrustedPeerError: the other side has shown no certificate that counts, or that of another peer.
        OSError: the connection ended, or the handshake took longer than ``seconds``.
    """
    secure = SecureStream(sock, identity.client_context, server_side=False, seconds=seconds)
    found = _trusted(secure, identity)
    if name not in ("", found):
        raise UntrustedPeerError(f"the certificate there is that of {found}, not of {name}")
    return secure


def connection_of(stream: socket.socket | SecureStream, failure_timeout: float) -> Connection:
    """The connection on a socket, or on one whose bytes are encrypted."""
    if isinstance(stream, SecureStream):
        return SecureConnection(stream, failure_timeout)
    return Connection(stream, failure_timeout)


def _trusted(secure: SecureStream, identity: Identity) -> str:
    """The name of the peer at the other end, whose certificate can be checked again from now on."""
    secure.require_trust = partial(identity.trust, secure.tls.getpeercert(binary_form=True) or b"")
    return secure.require_trust().name


class SecureConnection(Connection):
    """A connection whose bytes are encrypted."""

    def __init__(self, stream: SecureStream, failure_timeout: float) -> None:
        super().__init__(stream.sock, failure_timeout)
        self._require_trust = stream.require_trust
        self._tls = stream.tls
        self._incoming = stream.incoming
        self._outgoing = stream.outgoing
        self._received = memoryview(bytearray(BATCH_BYTES))
        """Encrypted; reused, since new memory would cost more than the call that fills it."""

    def require_trust(self) -> None:
        self._require_trust()

    def send(self, buffers: Sequence[Buffer]) -> None:
        outgoing = self._outgoing
        try:
            for view in _joined(buffers):
                for start in range(0, len(view), BATCH_BYTES):
                    self._tls.write(view[start : start + BATCH_BYTES])
                    if outgoing.pending >= BATCH_BYTES:
                        self._socket.sendall(outgoing.read())
            if outgoing.pending:
                self._socket.sendall(outgoing.read())
        except OSError as error:
            raise self._ended(error) from error

    def receive_into(self, memory: memoryview, progress: Callable[[int], None] | None = None) -> None:
        filled, size, told = 0, len(memory), time.monotonic()
        read = self._tls.read
        while filled < size:
            try:
                while filled < size:
                    count: int = read(RECORD_BYTES, memory[filled:])  # type: ignore[assignment] # the stubs: bytes
                    if count == 0:
                        raise DataChannelError(ENDED)
                    filled += count
            except ssl.SSLWantReadError:
                self._take(size - filled)
                if progress and (now := time.monotonic()) - told >= self._progress_seconds:
                    told = now
                    progress(filled)
            except OSError as error:
                raise self._ended(error) from error

    def readable(self) -> bool:
        return self._incoming.pending > 0 or super().readable()

    def _take(self, wanted: int) -> None:
        """Receive a part of what brings the next ``wanted`` bytes, where all that was received is decrypted.

        Of the first record, all but one byte may have been received before. The others are still to come, and the
        system waits for them.
        """
        others = wanted - RECORD_BYTES
        if others > RECORD_BYTES:
            expected = others + ADDED_BYTES * (others // RECORD_BYTES)
            count = self._receive(self._received[:expected])
        else:
            count = self._receive(self._received, wait_for_all=False)
        self._incoming.write(self._received[:count])


def _joined(buffers: Sequence[Buffer]) -> Iterator[memoryview]:
    """The buffers, small ones joined."""
    small: list[memoryview] = []
    for buffer in buffers:
        view = memoryview(buffer).cast("B")
        if len(view) <= JOINED_BYTES:
            small.append(view)
            continue
        if small:
            yield memoryview(b"".join(small))
            small.clear()
        yield view
    if small:
        yield memoryview(b"".join(small))

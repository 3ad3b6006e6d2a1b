"""Connections that an outsider opens, and what it sends on them."""

from __future__ import annotations

import random
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = "127.0.0.9"
"""The outsider's address: another one than that of the peers."""
RATE = 400.0
"""Connections that it opens in a second, in all: it must not use up the cores on which the peers run."""
HANDSHAKES = 60.0
"""The same, where each has a handshake."""
TIMEOUT = 1.0
"""Seconds for one connection of the outsider to do something."""

Place = tuple[str, int]
Speak = Callable[[socket.socket], socket.socket]
"""Sends something on a new connection, and returns it, or what has replaced it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A peer, as an outsider sees it."""

    address: str
    """``host:port`` of its messages."""
    data_port: int

    @property
    def messages(self) -> Place:
        """Its port for messages."""
        host, _, port = self.address.rpartition(":")
        return host, int(port)

    @property
    def data(self) -> Place:
        """Its data port."""
        return self.messages[0], self.data_port


@dataclass(slots=True)
class Connections:
    """Connections to several places, opened one after the other until there are enough, and again when one ends."""

    places: Sequence[Place]
    most: int
    """To each place."""
    speak: Speak
    rate: float = RATE
    again: Callable[[socket.socket], object] | None = None
    """Sends more on a connection that is open, now and then."""
    keep: bool = True
    """Whether connections stay open."""
    _open: dict[Place, list[socket.socket]] = field(default_factory=dict)

    def run(self, stop: threading.Event) -> None:
        """Go on until ``stop``; then close all."""
        self._open = {place: [] for place in self.places}
        try:
            while not stop.wait(1 / self.rate * len(self.places)):
                for place, socks in self._open.items():
                    if len(socks) < self.most:
                        self._connect(place)
                    elif self.again is None:
                        self._open[place] = [sock for sock in socks if not _closed(sock)]
                    if self.again and socks:
                        with suppress(OSError):
                            self.again(random.choice(socks))  # noqa: S311 - no secret depends on it
        finally:
            for socks in self._open.values():
                for sock in socks:
                    sock.close()

    def _connect(self, place: Place) -> None:
        sock = socket.socket()
        try:
            sock.settimeout(TIMEOUT)
            sock.bind((SOURCE, 0))
            sock.connect(place)
            sock = self.speak(sock)
        except OSError:
            sock.close()
            return
        if self.keep:
            self._open[place].append(sock)
        else:
            sock.close()


def _closed(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return sock.recv(4096) == b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        sock.close()
        return True


def silent(sock: socket.socket) -> socket.socket:
    """Send nothing."""
    return sock


def sending(*data: bytes) -> Speak:
    """Send these."""

    def speak(sock: socket.socket) -> socket.socket:
        for each in data:
            sock.sendall(each)
        return sock

    return speak


def reset(sock: socket.socket) -> socket.socket:
    """Let the connection be reset when it is closed."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return sock


def half_closed(sock: socket.socket) -> socket.socket:
    """Say that nothing more comes."""
    sock.shutdown(socket.SHUT_WR)
    return sock


def trickle(sock: socket.socket) -> None:
    """One byte of a handshake's first message."""
    sock.send(client_hello()[:1])


def endless(sock: socket.socket) -> None:
    """More of a message that never ends."""
    sock.settimeout(0.01)
    sock.send(b"\x16\x03\x01\x40\x00" + bytes(2**14))


def client_hello() -> bytes:
    """A valid first message."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        _anybody().wrap_bio(incoming, outgoing, server_hostname="any.peer").do_handshake()
    return outgoing.read()


def large_hello() -> bytes:
    """The beginning of a first message of 16 MiB."""
    return b"\x16\x03\x01\x40\x00\x01\xff\xff\xff\x03\x03" + bytes(2**14 - 6)


def http2(streams: int, *, reset_each: bool = False) -> bytes:
    """HTTP/2 without TLS: streams that are opened, and reset at once or left open."""

    def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
        return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body

    parts = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frame(4, 0, 0, b"")]
    for number in range(1, 2 * streams, 2):
        parts.append(frame(1, 4, number, b"\x83\x86\x84"))
        if reset_each:
            parts.append(frame(3, 0, number, (8).to_bytes(4, "big")))
    return b"".join(parts)


def encrypted(context: ssl.SSLContext | None = None, *data: bytes) -> Speak:
    """A handshake, with the certificate of ``context`` or none, and then these."""
    own = context or _anybody()

    def speak(sock: socket.socket) -> socket.socket:
        secure = own.wrap_socket(sock, server_hostname="any.peer")
        for each in data:
            secure.sendall(each)
        return secure

    return speak


def stranger(certificate: Path) -> ssl.SSLContext:
    """With a certificate, and its key, that peers do not accept; takes any certificate of theirs."""
    context = _anybody()
    context.load_cert_chain(certificate)
    return context


def older() -> ssl.SSLContext:
    """TLS 1.2 at most."""
    context = _anybody()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def _anybody() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context

"""The enrolment while ``swarm invite`` runs: takes requests over TLS 1.3 and answers them.

The server shows the authority's own certificate, which an invitation names. It answers one request per connection. A
stranger gets one sentence at most, and few connections, bytes and seconds.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Self

from swarm.addresses import Address, block_of, ip_of
from swarm.errors import IdentityError
from swarm.identity import authority
from swarm.identity.authority import Answer, Authority
from swarm.identity.enrolment import MAX_REQUEST, refusal
from swarm.identity.frames import Deadline, receive, send
from swarm.listening import listening
from swarm.text import printable

SECONDS = 10.0
"""For a connection in all."""
MAX_CONNECTIONS = 8
MAX_PER_ADDRESS = 2
"""Connections of one IPv4 address, or one /64 of IPv6."""
QUIET_SECONDS = 60.0
"""For so long after a line about an address there is none about what else it does in vain."""

_TICK = 0.5
_PAUSE = 0.1
"""Seconds after an accept that failed."""
_BACKLOG = 128
"""So that a site's connection does not wait behind those of strangers, which are refused at once."""
_MAX_ADDRESSES = 1024


class EnrolmentServer:
    """Listens at once; ``serve`` answers.

    Args:
        of: answers the requests.
        listen: ``host:port``; the host may be a wildcard, and the port 0.
        joined: is told of each certificate that was given out, and to which address.
        refused: is told whom nothing was given and why; once a minute per address, or per /64 of IPv6.
        seconds: for a connection in all.

    Raises:
        IdentityError: the address cannot be listened on.
    """

    def __init__(
        self,
        of: Authority,
        listen: Address,
        *,
        joined: Callable[[Answer, str], None],
        refused: Callable[[str, str], None],
        seconds: float = SECONDS,
    ) -> None:
        self._authority, self._joined, self._refused, self._seconds = of, joined, refused, seconds
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()
        self._told: dict[str, float] = {}
        self._closed = threading.Event()
        self._threads: set[threading.Thread] = set()
        self._context = _context(of)
        try:
            self._socket = listening(listen.host, listen.port, _BACKLOG)
        except OSError as error:
            raise IdentityError(
                f"{listen} cannot be listened on for the enrolment: {error.strerror}; give another "
                "address with --listen, to which the invited sites' connections are forwarded"
            ) from error
        self._socket.settimeout(_TICK)

    @property
    def address(self) -> str:
        """``host:port`` that it listens on."""
        host, port = self._socket.getsockname()[:2]
        return str(Address(host, port))

    def serve(self, finished: Callable[[], bool] = lambda: False) -> None:
        """Answer until ``finished``, which is asked twice a second, or until ``close``; then end all connections."""
        try:
            while not self._closed.is_set() and not finished():
                asked = time.monotonic()
                while not self._closed.is_set() and time.monotonic() - asked < _TICK:  # asking costs more than refusing
                    self._accept()
        finally:
            self.close()
            for thread in list(self._threads):
                thread.join()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # ends an accept in another thread
        self._socket.close()

    def _accept(self) -> None:
        try:
            connection, source = self._socket.accept()
        except TimeoutError:
            return
        except OSError:  # closed, or out of descriptors
            self._closed.wait(_PAUSE)
            return
        # Behind [::] an IPv4 address comes inside one of IPv6.
        self._take(connection, str(ip_of(source[0]) or source[0]))

    def _take(self, connection: socket.socket, address: str) -> None:
        with self._lock:
            block = block_of(address)
            taken = self._open.total() < MAX_CONNECTIONS and self._open[block] < MAX_PER_ADDRESS
            if taken:
                self._open[block] += 1
        if not taken:
            connection.close()
            self._tell(address, "too many connections at once")
            return
        thread = threading.Thread(target=self._run, args=(connection, address), name="swarm-enrolment", daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # there are too many on this machine
            connection.close()
            self._forget(thread, address)
            self._tell(address, str(error))

    def _run(self, connection: socket.socket, address: str) -> None:
        try:
            with connection:
                self._serve_one(connection, address)
        except (OSError, IdentityError) as error:
            self._tell(address, str(error))
        finally:
            self._forget(threading.current_thread(), address)

    def _forget(self, thread: threading.Thread, address: str) -> None:
        with self._lock:
            self._open[block_of(address)] -= 1
            self._open += Counter()  # forgets the blocks without a connection
            self._threads.discard(thread)

    def _serve_one(self, plain: socket.socket, address: str) -> None:
        deadline = Deadline(self._seconds)
        deadline.apply(plain)
        with self._context.wrap_socket(plain, server_side=True) as connection:
            request = receive(connection, MAX_REQUEST, deadline)
            try:
                answer = self._authority.answer(request)
            except IdentityError as error:
                send(connection, refusal(str(error)), deadline)
                raise
            self._joined(answer, address)
            send(connection, answer.reply.encoded(), deadline)

    def _tell(self, address: str, reason: str) -> None:
        now, block = time.monotonic(), block_of(address)
        with self._lock:
            told = self._told.get(block)
            if told is not None and now - told < QUIET_SECONDS:
                return
            if len(self._told) >= _MAX_ADDRESSES:
                self._told.clear()
            self._told[block] = now
        self._refused(address, printable(reason, 300))


def _context(of: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.load_cert_chain(of.directory / authority.CERTIFICATE, of.directory / authority.KEY)
    return context

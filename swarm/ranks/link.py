"""A connection between rank 0 and another process of its site, beside the process group: it waits for no hook."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import (  # noqa: TID251 - only recv_bytes is called, also for the challenges
    Connection,
    answer_challenge,
    deliver_challenge,
)
from queue import SimpleQueue
from typing import Any

from swarm.errors import AddressError
from swarm.listening import listening

MOST_BYTES = 64 << 20
"""Of a message: room for a proposal of the largest swarm."""
KEY_BYTES = 32
"""Of the secret by which both sides know each other."""
MOST_STRANGERS = 64
"""Connections to a process that have not shown the key; a further one ends the oldest."""
LOOK = 1.0
"""Seconds after which a process sees at the latest that rank 0 is there."""
_NO_KEY = (OSError, EOFError, AuthenticationError, AssertionError)

Heard = Callable[[str, Mapping[str, Any]], None]
"""Takes a message: what it is, and its content in JSON types. Called in order, on a thread of the link."""

Connect = Callable[[], Connection]
"""Makes a connection; may wait for the other side."""


class Link:
    """Messages in order, both ways. Nothing is unpickled."""

    def __init__(self, connect: Connect, heard: Heard, lost: Callable[[str], None]) -> None:
        """Connect in the background.

        Args:
            connect: makes the connection.
            heard: takes what comes.
            lost: called once, with the reason, when the connection cannot be made or has ended, unless closed here.
        """
        self._connect = connect
        self._heard = heard
        self._lost = lost
        # a finalizer may tell something at any moment: this queue alone can be used from one
        self._out: SimpleQueue[bytes | None] = SimpleQueue()
        self._closed = False
        threading.Thread(target=self._run, name="swarm-rank-link", daemon=True).start()

    def tell(self, what: str, content: Mapping[str, Any]) -> None:
        """Send a message once connected. Returns at once; what cannot be sent is dropped."""
        self._out.put(json.dumps([what, content]).encode())

    def close(self) -> None:
        """Send what was told, and end the connection; idempotent. Returns at once."""
        self._closed = True
        self._out.put(None)

    def _run(self) -> None:
        reason = "the connection has ended"
        try:
            with self._connect() as connection:
                sender = threading.Thread(target=self._send, args=(connection,), name="swarm-rank-send", daemon=True)
                sender.start()
                try:
                    while True:
                        what, content = json.loads(connection.recv_bytes(MOST_BYTES))
                        self._heard(what, content)
                finally:
                    self._out.put(None)
                    sender.join()
        except (OSError, EOFError, ValueError, AuthenticationError) as error:
            reason = str(error) or reason
        if not self._closed:
            self._lost(reason)

    def _send(self, connection: Connection) -> None:
        with suppress(OSError):  # whoever reads tells of a loss
            while (data := self._out.get()) is not None:
                connection.send_bytes(data)
        _end(connection)


class LinkListener:
    """Where a process waits for the connection of rank 0.

    Each connection is asked for the key on a thread of its own, so that nobody delays rank 0 by connecting and saying
    nothing, or something else.
    """

    def __init__(self, host: str, key: bytes, patience: float) -> None:
        """Listen on a free port.

        Args:
            host: that of ``listen``: a name, an IP address or a wildcard.
            key: that rank 0 has too.
            patience: seconds that ``accept`` waits for rank 0.

        Raises:
            AddressError: it cannot be listened on.
        """
        self._key = key
        self._patience = patience
        self._found: Future[Connection] = Future()
        self._lock = threading.Lock()
        self._strangers: list[Connection] = []
        """Connections that have not shown the key, the oldest first."""
        try:
            self._listener = listening(host, 0, MOST_STRANGERS)
        except OSError as error:
            raise AddressError(
                f"this process cannot listen on {host} for rank 0 of its site: {error.strerror}; correct the host in "
                "`listen`"
            ) from error
        self.port: int = self._listener.getsockname()[1]

    def accept(self) -> Connection:
        """Wait for rank 0, and listen no more. Called once.

        Raises:
            TimeoutError: it has not connected in time.
        """
        until = time.monotonic() + self._patience
        with self._listener:
            while not self._found.done() and (left := until - time.monotonic()) > 0:
                self._listener.settimeout(min(left, LOOK))
                try:
                    sock, _ = self._listener.accept()
                except OSError:  # nobody came, rank 0 is found, or there are no descriptors
                    wait([self._found], 0.1)
                else:
                    self._admit(Connection(sock.detach()))
        with self._lock:
            for stranger in self._strangers:
                _end(stranger)
        if not self._found.done():
            raise TimeoutError(f"rank 0 has not connected to port {self.port} within {self._patience:.0f} seconds")
        return self._found.result()

    def _admit(self, stranger: Connection) -> None:
        with self._lock:
            if len(self._strangers) == MOST_STRANGERS:
                _end(self._strangers.pop(0))
            self._strangers.append(stranger)
        try:
            threading.Thread(target=self._ask, args=(stranger,), name="swarm-rank-accept", daemon=True).start()
        except RuntimeError:  # there are too many on this machine
            self._forget(stranger)
            stranger.close()

    def _ask(self, stranger: Connection) -> None:
        try:
            deliver_challenge(stranger, self._key)
            answer_challenge(stranger, self._key)
            has_key = True
        except _NO_KEY:
            has_key = False
        if self._forget(stranger) and has_key:
            self._found.set_result(stranger)
            with suppress(OSError):  # wakes `accept`; where a system cannot do so, that looks by itself
                self._listener.shutdown(socket.SHUT_RDWR)
        else:
            stranger.close()

    def _forget(self, stranger: Connection) -> bool:
        """Whether the connection was still to show the key; no longer from now on."""
        with self._lock:
            known = stranger in self._strangers
            if known:
                self._strangers.remove(stranger)
            return known


def connect(host: str, port: int, key: bytes) -> Connection:
    """Connect to another process, which has the same key.

    Raises:
        OSError: nobody listens there, or the connection has ended.
        EOFError: the connection has ended.
        AuthenticationError: whoever answers has another key.
    """
    connection = Connection(socket.create_connection((host, port)).detach())
    try:
        answer_challenge(connection, key)
        deliver_challenge(connection, key)
    except _NO_KEY as error:
        connection.close()
        if isinstance(error, AssertionError):  # Python 3.11 says so that this is no challenge
            raise AuthenticationError(f"{host} port {port} is not a process of this site") from error
        raise
    return connection


def _end(connection: Connection) -> None:
    """End a connection that another thread reads, which closing would not."""
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)

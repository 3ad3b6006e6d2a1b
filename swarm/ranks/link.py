"""A connection between rank 0 and another process of its site, beside the process group: it waits for no hook."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from queue import SimpleQueue
from typing import Any

MOST_BYTES = 64 << 20
"""Of a message: room for a proposal of the largest swarm."""
KEY_BYTES = 32
"""Of the secret by which both sides know each other."""

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
        # closing would not end a read that is under way
        with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)


class LinkListener:
    """Where a process waits for the connection of rank 0."""

    def __init__(self, host: str, key: bytes) -> None:
        self._listener = Listener((host, 0), authkey=key)
        self.port: int = self._listener.address[1]

    def accept(self) -> Connection:
        """Wait for rank 0, and listen no more."""
        try:
            return self._listener.accept()
        finally:
            self._listener.close()


def connect(host: str, port: int, key: bytes) -> Connection:
    """Connect to another process, which has the same key."""
    return Client((host, port), authkey=key)

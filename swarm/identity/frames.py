"""One message over a connection, with a deadline: its length in 4 bytes, then the message."""

from __future__ import annotations

import socket
import struct
import time

from swarm.errors import IdentityError

_LENGTH = struct.Struct(">I")
_PART = 16 * 2**10


class Deadline:
    """Ends what takes too long: reading, writing, and a handshake.

    Args:
        seconds: for all of it together.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def apply(self, connection: socket.socket) -> None:
        """Let the next operation of a connection take what is left.

        Raises:
            TimeoutError: nothing is left.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("it takes too long")
        connection.settimeout(left)


def send(connection: socket.socket, message: bytes, deadline: Deadline) -> None:
    """Send one message.

    Raises:
        OSError: the connection is lost, or it takes too long.
    """
    deadline.apply(connection)
    connection.sendall(_LENGTH.pack(len(message)) + message)


def receive(connection: socket.socket, most: int, deadline: Deadline) -> bytes:
    """Receive one message of at most ``most`` bytes; memory grows only with what has arrived.

    Raises:
        IdentityError: it is longer, or ends early.
        OSError: the connection is lost, or it takes too long.
    """
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size, deadline))
    if length > most:
        raise IdentityError(f"a message of {length} bytes exceeds the limit of {most}")
    return _exactly(connection, length, deadline)


def _exactly(connection: socket.socket, count: int, deadline: Deadline) -> bytes:
    data = bytearray()
    while len(data) < count:
        deadline.apply(connection)
        part = connection.recv(min(count - len(data), _PART))
        if not part:
            raise IdentityError("the connection ended before the message did")
        data += part
    return bytes(data)

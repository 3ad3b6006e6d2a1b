"""What travels over a connection: its kind in one byte, and then runs of bytes, each with its size ahead of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm.errors import ExchangeError
from swarm.transport.base import MAX_MESSAGE_BYTES
from swarm.transport.frames import SIZE, checked

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

MESSAGES, UPLOAD, FETCH = b"M", b"U", b"F"
"""The kinds of connection."""
_END, _FAILED = 2**32 - 1, 2**32 - 2
"""In place of the size of a frame."""


def send(connection: socket.socket, data: bytes) -> None:
    """One run of bytes.

    Raises:
        OSError: the connection ends.
    """
    connection.sendall(SIZE.pack(len(data)))
    connection.sendall(data)


def send_end(connection: socket.socket, failure: str = "") -> None:
    """Say that nothing follows, or why.

    Raises:
        OSError: the connection ends.
    """
    if not failure:
        connection.sendall(SIZE.pack(_END))
        return
    connection.sendall(SIZE.pack(_FAILED))
    send(connection, failure.encode())


def next_size(connection: socket.socket) -> int | None:
    """The size of what follows; None at the end.

    Raises:
        ExchangeError: the other side tells of a failure, or the size is more than a transport carries.
        OSError: the connection ends.
    """
    size = _size(connection)
    if size == _FAILED:
        text = receive(connection, min(_size(connection), MAX_MESSAGE_BYTES))
        raise ExchangeError(bytes(text).decode(errors="replace"))
    return None if size == _END else checked(size)


def receive_first(connection: socket.socket) -> bytes:
    """What a connection begins with, after its kind.

    Raises:
        ExchangeError: it is more than a transport carries.
        OSError: the connection ends.
    """
    return bytes(receive(connection, checked(_size(connection))))


def receive(connection: socket.socket, size: int) -> memoryview:
    """The next ``size`` bytes.

    Raises:
        OSError: the connection ends before.
    """
    memory = memoryview(bytearray(size))
    receive_into(connection, memory)
    return memory


def receive_into(connection: socket.socket, memory: memoryview, progress: Callable[[int], None] | None = None) -> None:
    """Fill ``memory``, with a report of each part but the last.

    Raises:
        OSError: the connection ends before.
    """
    filled = 0
    while filled < len(memory):
        came = connection.recv_into(memory[filled:])
        if not came:
            raise ConnectionResetError("the other side has closed it")
        filled += came
        if progress is not None and filled < len(memory):
            progress(filled)


def _size(connection: socket.socket) -> int:
    return int(SIZE.unpack(receive(connection, SIZE.size))[0])

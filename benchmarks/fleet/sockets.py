"""Closes the connections of another process, without root (Linux)."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PIDFD_GETFD = 438
"""The system call: the same number on every architecture (Linux 5.6)."""


def cut(pid: int) -> int:
    """Shut down every TCP connection of process ``pid``, as a broken network does; returns their number.

    Listening sockets stay open. Both ends see a closed connection, and can connect again.

    Raises:
        OSError: the system does not allow it or does not support it.
    """
    count = 0
    for connection in _sockets(pid):
        with connection, suppress(OSError):  # not connected, or gone meanwhile
            if connection.family in (socket.AF_INET, socket.AF_INET6):
                connection.getpeername()
                connection.shutdown(socket.SHUT_RDWR)
                count += 1
    return count


def can_cut(pid: int) -> bool:
    """Whether ``cut`` is possible for process ``pid``; closes nothing."""
    try:
        for connection in _sockets(pid):
            connection.close()
    except (OSError, AttributeError):  # AttributeError: a system without process descriptors
        return False
    return True


def _sockets(pid: int) -> Iterator[socket.socket]:
    """Copies of the sockets of another process."""
    library = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(pid)
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                if not str(entry.readlink()).startswith("socket:"):
                    continue
                copy = library.syscall(_PIDFD_GETFD, process, int(entry.name), 0)
                if copy < 0:
                    if (number := ctypes.get_errno()) == errno.EBADF:  # closed meanwhile
                        continue
                    raise OSError(number, os.strerror(number))
                yield socket.socket(fileno=copy)
    finally:
        os.close(process)

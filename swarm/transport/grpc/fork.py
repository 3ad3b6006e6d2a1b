"""Letting go of this process's connections in forked children.

DataLoader workers are forked while gRPC runs. A child inherits the sockets, and while it lives they stay open: the
peers of a killed parent would not notice. So a child closes its copies, and touches nothing else of gRPC.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from swarm.addresses import Address, ip_of

_DESCRIPTORS = Path("/proc/self/fd")
_guards: list[ForkGuard] = []


class ForkGuard:
    """The ends of one transport's connections."""

    def __init__(self) -> None:
        self._listening: set[int] = set()
        self._remotes: set[tuple[str, int]] = set()
        _guards.append(self)

    def listen(self, port: int) -> None:
        """Connections accepted on ``port``, and the listening socket itself, are this transport's."""
        self._listening.add(port)

    def connect(self, address: Address) -> None:
        """Connections to ``address`` are this transport's."""
        self._remotes.add((str(ip_of(address.host) or ""), address.port))

    def release(self) -> None:
        """The transport has closed them itself."""
        with suppress(ValueError):
            _guards.remove(self)

    def owns(self, connection: socket.socket) -> bool:
        """Whether ``connection`` is of this transport; a peer known by name is recognised by its port."""
        with suppress(OSError):
            if connection.getsockname()[1] in self._listening:
                return True
            host, port = connection.getpeername()[:2]
            host = host.removeprefix("::ffff:")
            return (host, port) in self._remotes or ("", port) in self._remotes
        return False


def _close_inherited() -> None:
    guards = tuple(_guards)
    _guards.clear()
    if not guards:
        return
    with suppress(OSError):
        for name in os.listdir(_DESCRIPTORS):  # noqa: PTH208 - numbers, not paths
            _close_if_owned(int(name), guards)


def _close_if_owned(descriptor: int, guards: tuple[ForkGuard, ...]) -> None:
    try:
        connection = socket.socket(fileno=descriptor)
    except OSError:
        return
    if connection.family in (socket.AF_INET, socket.AF_INET6) and any(guard.owns(connection) for guard in guards):
        connection.close()
    else:
        connection.detach()


if _DESCRIPTORS.is_dir():
    os.register_at_fork(after_in_child=_close_inherited)

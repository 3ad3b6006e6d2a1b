"""Letting go of data channels in forked children.

A DataLoader worker that is forked inherits the sockets, and while it lives they stay open: the peers of a killed
parent would not notice. So a child closes its copies.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def keep_from_children(sock: socket.socket) -> None:
    """Close ``sock`` in every child that is forked from now on."""
    _sockets.add(sock)


def _close_inherited() -> None:
    for sock in tuple(_sockets):
        sock.close()


os.register_at_fork(after_in_child=_close_inherited)

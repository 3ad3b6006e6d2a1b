"""A connection that one thread uses and any thread may break."""

from __future__ import annotations

import select
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from swarm.errors import DataChannelError
from swarm.transport.data_channel.fork import keep_from_children

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swarm.transport.base import Buffer

MAX_BUFFERS = 64
"""Gathered by one call; systems allow 1024, a frame has two."""
_TIMEVAL = struct.Struct("@ll")
"""Seconds and microseconds, as of SO_RCVTIMEO."""
_ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER: on closing drop what is unsent and reset the connection."""

ENDED = "the other side closed the connection"


class Connection:
    """Blocking reads and writes, straight from and into the caller's memory.

    The buffers of a socket are left to the system: setting their sizes gained nothing on loopback, and would end the
    adjustment to the delay of a long link. There is no TCP_USER_TIMEOUT either, since it would end a stream whose
    sink makes its sender wait; a peer that vanishes in the middle of one is lost on the control channel.

    Args:
        sock: connected; belongs to this object from now on.
        failure_timeout: seconds after which a silent host counts as gone while nothing is sent. In a quarter of it a
            frame that comes slowly shows progress.
    """

    def __init__(self, sock: socket.socket, failure_timeout: float) -> None:
        keep_from_children(sock)
        self._socket = sock
        self._lock = threading.Lock()
        self._broken = False
        self.ended = threading.Event()
        """Set once nobody uses it any more."""
        self._away = False
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        quarter = max(1, round(failure_timeout / 4))
        # Waking up for whatever has come would cost a core on a slow link; waiting for all of a frame would look like
        # silence there. So the system waits for all, but no longer than this.
        self._progress_seconds = failure_timeout / 4
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(self._progress_seconds))
        for name, value in (("TCP_KEEPIDLE", quarter), ("TCP_KEEPINTVL", quarter), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):  # not everywhere
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def require_trust(self) -> None:
        """Refuse the peer at the other end if its certificate counts no more; without certificates nobody is refused.

        Raises:
            UntrustedPeerError: it was revoked meanwhile, or has expired.
        """

    def send(self, buffers: Sequence[Buffer]) -> None:
        """Send the buffers, joined.

        Raises:
            DataChannelError: the connection ended.
        """
        if len(buffers) > MAX_BUFFERS:
            buffers = [b"".join(buffers)]
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        left = sum(map(len, views))
        try:
            while left := left - (sent := self._socket.sendmsg(views)):
                views = _after(views, sent)
        except OSError as error:
            raise self._ended(error) from error

    def receive_into(self, memory: memoryview, progress: Callable[[int], None] | None = None) -> None:
        """Fill ``memory``, telling ``progress`` now and then how much has come while that is not all.

        Raises:
            DataChannelError: the connection ended before.
        """
        filled = 0
        while filled < len(memory):
            filled += self._receive(memory[filled:])
            if progress and filled < len(memory):
                progress(filled)

    def receive(self, size: int) -> bytes:
        """The next ``size`` bytes.

        Raises:
            DataChannelError: the connection ended before.
        """
        data = bytearray(size)
        self.receive_into(memoryview(data))
        return bytes(data)

    def _receive(self, memory: memoryview, *, wait_for_all: bool = True) -> int:
        """How much has come at once: all, or what there is after a while, but never nothing."""
        flags = socket.MSG_WAITALL if wait_for_all else 0
        while True:
            try:
                count = self._socket.recv_into(memory, 0, flags)
            except BlockingIOError:  # nothing at all
                continue
            except OSError as error:
                raise self._ended(error) from error
            if count == 0:
                raise DataChannelError(ENDED)
            return count

    def readable(self) -> bool:
        """Whether something has arrived, or the connection has ended."""
        try:
            return self._broken or bool(self._poll.poll(0))
        except OSError:
            return True

    @property
    def away(self) -> _Away:
        """A context for the thread that uses the connection while it is busy elsewhere."""
        return _Away(self)

    def break_(self) -> None:
        """End the connection from any thread; the one that uses it finds it broken. Idempotent."""
        with self._lock:
            if self._broken:
                return
            self._broken = True
            if self._away:
                self._abort()
            else:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection on the thread that uses it, dropping what is unsent. Idempotent."""
        with self._lock:
            self._broken = True
            self._abort()
        self.ended.set()

    def leave(self, *, away: bool) -> None:
        """The thread that uses the connection goes away, or comes back.

        Raises:
            DataChannelError: it was broken before or meanwhile.
        """
        with self._lock:
            self._away = away and not self._broken
            if self._broken:
                raise DataChannelError("the connection was closed")

    def _abort(self) -> None:
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        self._socket.close()

    def _ended(self, error: OSError) -> DataChannelError:
        return DataChannelError("the connection was closed" if self._broken else error.strerror or str(error))


class _Away:
    """While the thread that uses a connection is busy elsewhere: breaking it then takes effect at once.

    Entering and leaving raise ``DataChannelError`` if the connection was broken before or meanwhile. A class and no
    generator, since it is entered several times a frame.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.leave(away=True)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self._connection.leave(away=False)
        except DataChannelError:
            if error is None:
                raise


def _timeval(seconds: float) -> bytes:
    return _TIMEVAL.pack(int(seconds), max(1, int(seconds % 1 * 1e6)))


def _after(views: list[memoryview], count: int) -> list[memoryview]:
    """What is left of ``views`` after ``count`` bytes."""
    for index, view in enumerate(views):
        if count < len(view):
            return [view[count:], *views[index + 1 :]]
        count -= len(view)
    return []

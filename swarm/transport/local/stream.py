"""Connections that carry weights, each with a thread at both ends."""

from __future__ import annotations

import contextlib
import socket
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from swarm.errors import ExchangeError
from swarm.transport.base import Upload
from swarm.transport.frames import FrameReader
from swarm.transport.local.connection import next_size, send, send_end

if TYPE_CHECKING:
    from collections.abc import Callable


class Stream:
    """A connection, as the transport knows it that has to end it."""

    def __init__(self, address: str, connection: socket.socket | None = None) -> None:
        self.address = address
        """Of the other side; empty where it is not known."""
        self.connection = connection
        """None until there is one."""

    def break_(self, reason: str) -> None:
        """Wake who waits for the connection."""
        if self.connection is not None:
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """The same, without a report."""
        self.break_("")

    def close(self) -> None:
        """Close the connection. Only its own thread does so: another one could meet a new file of the same number."""
        if self.connection is not None:
            self.connection.close()


class Streams(ABC):
    """Those of one transport."""

    @abstractmethod
    def connect(self, upload: OutgoingStream) -> socket.socket:
        """A connection that is open, and known to ``upload`` from now on.

        Raises:
            OSError: nobody listens at its address.
        """

    @abstractmethod
    def leave(self, stream: Stream) -> None:
        """``stream`` is over: close it."""

    @abstractmethod
    def report(self, job: Callable[[], None]) -> None:
        """Run ``job`` on the thread that makes all reports, unless the transport is closed by then."""


class OutgoingStream(Stream, Upload):
    """An upload."""

    def __init__(
        self,
        streams: Streams,
        address: str,
        header: bytes,
        frames: FrameReader,
        done: Callable[[str | None], None],
    ) -> None:
        super().__init__(address)
        self.header = header
        """Encoded."""
        self._streams = streams
        self._frames = frames
        self._done: Callable[[str | None], None] | None = done

    def run(self) -> None:
        """Send everything, and say how it ended."""
        try:
            self._finish(self._send(self._streams.connect(self)))
        except OSError as error:
            self._finish(f"the connection to {self.address} broke: {error}")
        except ExchangeError as error:
            self._finish(str(error))
        finally:
            self._streams.leave(self)

    def cancel(self) -> None:
        self.drop()
        self._frames.stop()

    def break_(self, reason: str) -> None:
        """Read no further frame. The failure is told at once, while one may still be on its way."""
        self._frames.halt()
        super().break_(reason)
        self._finish(reason)

    def drop(self) -> None:
        self._done = None
        self._frames.halt()
        super().break_("")

    def _send(self, connection: socket.socket) -> str | None:
        """Why this side failed; None if everything was taken."""
        with contextlib.suppress(BrokenPipeError):  # the answer says why
            for data in self._frames:
                send(connection, data)
            if self._frames.failure is not None:
                return self._frames.failure
            send_end(connection)
        next_size(connection)
        return None

    def _finish(self, reason: str | None) -> None:
        self._streams.report(lambda: self._tell(reason))

    def _tell(self, reason: str | None) -> None:
        """Say how it ended, the first time; on one thread."""
        done, self._done = self._done, None
        if done is not None:
            done(reason)

"""One outgoing connection and the thread that feeds it; streams follow each other on it."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from swarm.errors import DataChannelError, NoDataChannelError, UntrustedPeerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from swarm.transport.data_channel.connection import Connection
    from swarm.transport.data_channel.upload import DataChannelUpload


class DataChannel:
    """Takes one upload at a time; the first makes it connect.

    Args:
        dial: makes the connection.
        resting: the data channel can send another upload; called on its thread.
        ended: the data channel cannot be used again.
    """

    def __init__(
        self,
        dial: Callable[[], Connection],
        resting: Callable[[DataChannel], None],
        ended: Callable[[DataChannel], None],
    ) -> None:
        self._dial = dial
        self._resting = resting
        self._ended = ended
        self._uploads: queue.SimpleQueue[DataChannelUpload | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self.closed = False
        """Whether it is ending."""
        self._thread = threading.Thread(target=self._run, name="swarm-data-channel-send", daemon=True)
        self._thread.start()

    def begin(self, upload: DataChannelUpload) -> None:
        """Send ``upload``; the data channel must be new or resting."""
        self._uploads.put(upload)

    def fresh(self) -> bool:
        """Whether a resting data channel is still connected: the other side sends nothing unasked but the end."""
        connection = self._connection
        return connection is not None and not connection.readable()

    def close(self) -> None:
        """End the connection and what is sent on it. Idempotent."""
        with self._lock:
            self.closed = True
            if self._connection is not None:
                self._connection.break_()
        self._uploads.put(None)

    def join(self, timeout: float) -> None:
        """Wait for its thread, unless that is the caller."""
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            self._connect_and_send()
        finally:
            self._ended(self)
            if self._connection is not None:
                self._connection.close()

    def _connect_and_send(self) -> None:
        upload = self._uploads.get()
        if upload is None:
            return
        try:
            connection = self._dial()
        except NoDataChannelError as error:
            if self.closed:
                upload.end(str(error))
            else:
                upload.fall_back()
            return
        except UntrustedPeerError as error:
            upload.end(f"no weights are sent: {error}")
            return
        with self._lock:
            self._connection = connection
            if self.closed:
                connection.break_()
        while upload is not None:
            reason, intact = upload.run(connection)
            if intact:
                self._resting(self)
            upload.end(reason)
            if not intact:
                return
            upload = None  # it knows whole models
            with suppress(DataChannelError), connection.away:
                upload = self._uploads.get()

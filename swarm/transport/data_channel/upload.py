"""An outgoing stream of weights, over a data channel or, where there is none, over the control transport."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from swarm.errors import DataChannelError, ExchangeError, UntrustedPeerError
from swarm.transport.base import Upload
from swarm.transport.data_channel.headers import Part, StreamStatus, frame_header, read_status
from swarm.transport.frames import size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swarm.messages import StreamHeader
    from swarm.transport.base import Frame
    from swarm.transport.data_channel.connection import Connection
    from swarm.transport.data_channel.control import DataChannelControl

_log = logging.getLogger("swarm.transport")
_ANSWERS = {StreamStatus.REFUSED: "{address} refused: {text}", StreamStatus.FAILED: "{address} failed: {text}"}


class DataChannelUpload(Upload):
    """Waits for its data channel, then is sent by the data channel's thread."""

    def __init__(
        self,
        control: DataChannelControl,
        address: str,
        header: StreamHeader,
        frames: Iterator[Frame],
        done: Callable[[str | None], None],
    ) -> None:
        self._control = control
        self._address = address
        self._header = header
        self._frames = frames
        self._done = done
        self._lock = threading.Lock()
        self._borrowing = threading.RLock()
        """Held while a frame is read and while its buffers, which are the sender's own memory, are being sent."""
        self._cancelled = threading.Event()
        self._connection: Connection | None = None
        self._instead: Upload | None = None

    def run(self, connection: Connection) -> tuple[str | None, bool]:
        """Send it over ``connection``: why that failed, if it did, and whether another stream can follow."""
        with self._lock:
            if self._cancelled.is_set():
                return None, True
            self._connection = connection
        intact = False
        try:
            connection.require_trust()
            reason = self._send(connection)
            intact = True
        except UntrustedPeerError as error:
            reason = f"no weights are sent: {error}"
        except DataChannelError as broken:
            reason = f"the data channel to {self._address} broke: {broken}"
        except ExchangeError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - told to the one who uploads
            _log.exception("the frames of an upload could not be read")
            reason = f"this peer could not read what it wanted to send: {error}"
        with self._lock:
            self._connection = None
            return reason, intact and not self._cancelled.is_set()

    def fall_back(self) -> None:
        """Send it over the control transport; nothing of it has been read yet."""
        with self._lock:
            if not self._cancelled.is_set():
                self._instead = self._control.upload(self._address, self._header, self._frames, self._done)

    def end(self, reason: str | None) -> None:
        """Tell how it ended, unless it was cancelled."""
        if self._cancelled.is_set():
            return
        try:
            self._done(reason)
        except Exception:  # noqa: BLE001 - the data channel must live on
            _log.exception("the end of an upload was not taken")

    def cancel(self) -> None:
        with self._lock:
            self._cancelled.set()
            if self._connection is not None:
                self._connection.break_()
        if self._instead is not None:
            self._instead.cancel()
        with self._borrowing:
            pass

    def _send(self, connection: Connection) -> str | None:
        data = self._control.encode_header(self._header)
        connection.send([frame_header(Part.STREAM, len(data)), data])
        while not connection.readable() and self._borrow(connection):
            pass
        connection.send([frame_header(Part.END)])
        status, text = read_status(connection)
        return _ANSWERS[status].format(address=self._address, text=text) if status in _ANSWERS else None

    def _borrow(self, connection: Connection) -> bool:
        """Send the next frame from where it lies; False where there is none."""
        with self._borrowing:
            with connection.away:
                frame = next(self._frames, None)
            if frame is None:
                return False
            pacing = self._control.pacing
            header = frame_header(Part.FRAME, size_of(frame))
            if not pacing.limited:
                connection.send([header, *frame])
                return True
            connection.send([header])
            for part in pacing.parts(frame, self._cancelled):
                connection.send([part])
            return True

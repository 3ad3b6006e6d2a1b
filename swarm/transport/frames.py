"""Reading the frames of an upload, so that a cancelled upload lets go of the sender's buffers."""

from __future__ import annotations

import logging
import threading
from itertools import chain
from typing import TYPE_CHECKING, Self

from swarm.errors import ExchangeError
from swarm.transport.base import MAX_FRAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swarm.transport.base import Frame

_log = logging.getLogger("swarm.transport")


def join(frame: Frame) -> bytes:
    """The buffers of ``frame`` as one chunk; a lone ``bytes`` is not copied.

    Raises:
        ExchangeError: it is larger than a transport carries.
    """
    data = frame[0] if len(frame) == 1 and isinstance(frame[0], bytes) else b"".join(frame)
    if len(data) > MAX_FRAME_BYTES:
        raise ExchangeError(f"a frame of {len(data)} bytes exceeds the limit of {MAX_FRAME_BYTES}")
    return data


def whole(frame: Frame) -> Iterator[bytes]:
    """A frame as one message."""
    yield join(frame)


class FrameReader:
    """Iterates over the messages that carry frames until these end, fail or are stopped; never raises.

    Args:
        frames: to be sent.
        cut: makes messages of a frame.
    """

    def __init__(self, frames: Iterator[Frame], cut: Callable[[Frame], Iterator[bytes]] = whole) -> None:
        self._messages: Iterator[bytes] = chain.from_iterable(map(cut, frames))
        self._reading = threading.RLock()
        self._stopped = False
        self.failure: str | None = None
        """Why the frames ended early, where it was their own fault."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        with self._reading:
            if self._stopped:
                raise StopIteration
            try:
                return next(self._messages)
            except StopIteration:
                raise
            except ExchangeError as error:
                self.failure = str(error)
            except Exception as error:  # noqa: BLE001 - told to the one who uploads
                _log.exception("the frames of an upload could not be read")
                self.failure = f"this peer could not read what it wanted to send: {error}"
            raise StopIteration

    def halt(self) -> None:
        """Begin no further message; one that is being read may go on."""
        self._stopped = True

    def stop(self) -> None:
        """Begin no further message, and wait for the one that is being read."""
        self._stopped = True
        with self._reading:
            self._messages = iter(())

"""What goes over a data channel beside values: the preamble, the headers of frames, and the answer to a stream.

The connecting side sends the preamble and waits for ``WELCOME``. Then streams follow each other: who sends it, frames,
an end, each behind a header that states its kind and its size. To each stream the other side answers once: after its
end, or before where it takes no more of it. All numbers are little-endian.
"""

from __future__ import annotations

import enum
import struct
from typing import TYPE_CHECKING

from swarm.errors import DataChannelError
from swarm.text import MAX_SHOWN, printable
from swarm.transport.data_channel.tokens import TOKEN_BYTES
from swarm.transport.frames import SIZE

if TYPE_CHECKING:
    from swarm.transport.data_channel.connection import Connection

PREAMBLE = struct.Struct(f"<8sH{TOKEN_BYTES}s")
"""Magic, version, token."""
MAGIC = b"SwarmLn\0"
VERSION = 2
WELCOME = b"\x01"
MAX_STREAM_BYTES = 16 * 2**10
"""Of an encoded stream header."""
MAX_TEXT_BYTES = 2000

_KIND = struct.Struct("<B")
_STATUS = struct.Struct("<BH")


class Part(enum.IntEnum):
    """What a stream consists of: one ``STREAM`` (its encoded header), ``FRAME``s, and an ``END``, which is empty."""

    STREAM = 1
    FRAME = 2
    END = 3


class StreamStatus(enum.IntEnum):
    """How a stream ended where it went."""

    TAKEN = 0
    """The sink took every frame."""
    REFUSED = 1
    FAILED = 2


def frame_header(part: Part, size: int = 0) -> bytes:
    """Announces ``size`` bytes."""
    return _KIND.pack(part) + SIZE.pack(size)


def read_frame_header(connection: Connection, limits: dict[Part, int]) -> tuple[Part, int]:
    """What follows, and its size: one of ``limits``, of no more than so many bytes.

    Raises:
        DataChannelError: something else came, or the connection ended.
    """
    data = connection.receive(_KIND.size + SIZE.size)
    number, size = data[0], SIZE.unpack_from(data, _KIND.size)[0]
    for part, limit in limits.items():
        if part == number and size <= limit:
            return part, size
    raise DataChannelError(f"a frame header of kind {number} and {size} bytes came where none is allowed")


def send_status(connection: Connection, status: StreamStatus, text: str = "") -> None:
    """Answer a stream.

    Raises:
        DataChannelError: the connection ended.
    """
    data = text.encode(errors="replace")[:MAX_TEXT_BYTES]
    connection.send([_STATUS.pack(status, len(data)), data])


def read_status(connection: Connection) -> tuple[StreamStatus, str]:
    """Wait for the answer to a stream.

    Raises:
        DataChannelError: something else came, or the connection ended.
    """
    number, size = _STATUS.unpack(connection.receive(_STATUS.size))
    if number not in tuple(StreamStatus) or size > MAX_TEXT_BYTES:
        raise DataChannelError(f"an answer of kind {number} and {size} bytes came")
    return StreamStatus(number), printable(connection.receive(size).decode(errors="replace"), MAX_SHOWN)

"""What goes over a data channel beside values: the preamble, the marks between frames, and the answer to a stream.

The connecting side sends the preamble and waits for ``WELCOME``. Then streams follow each other: a header, frames, an
end. To each stream the other side answers once: after its end, or before where it takes no more of it.
"""

from __future__ import annotations

import enum
import struct
from typing import TYPE_CHECKING

from swarm.text import MAX_SHOWN, printable
from swarm.transport.data_channel.connection import DataChannelBroken
from swarm.transport.data_channel.tokens import TOKEN_BYTES

if TYPE_CHECKING:
    from swarm.transport.data_channel.connection import Connection

PREAMBLE = struct.Struct(f">8sH{TOKEN_BYTES}s")
"""Magic, version, token."""
MAGIC = b"SwarmLn\0"
VERSION = 1
WELCOME = b"\x01"
MAX_HEADER_BYTES = 16 * 2**10
MAX_TEXT_BYTES = 2000

_MARK = struct.Struct(">BI")
_STATUS = struct.Struct(">BH")


class Mark(enum.IntEnum):
    """What follows; after ``END``, nothing."""

    HEADER = 1
    FRAME = 2
    END = 3


class StreamStatus(enum.IntEnum):
    """How a stream ended where it went."""

    TAKEN = 0
    """The sink took every frame."""
    REFUSED = 1
    FAILED = 2


def mark(kind: Mark, size: int = 0) -> bytes:
    """Announces ``size`` bytes."""
    return _MARK.pack(kind, size)


def read_mark(connection: Connection, limits: dict[Mark, int]) -> tuple[Mark, int]:
    """The next mark, one of those in ``limits`` and of no more than so many bytes.

    Raises:
        LaneBroken: something else came, or the connection ended.
    """
    number, size = _MARK.unpack(connection.receive(_MARK.size))
    for kind, limit in limits.items():
        if kind == number and size <= limit:
            return kind, size
    raise DataChannelBroken(f"a mark of kind {number} and {size} bytes came where none is allowed")


def send_status(connection: Connection, status: StreamStatus, text: str = "") -> None:
    """Answer a stream.

    Raises:
        LaneBroken: the connection ended.
    """
    data = text.encode(errors="replace")[:MAX_TEXT_BYTES]
    connection.send([_STATUS.pack(status, len(data)), data])


def read_status(connection: Connection) -> tuple[StreamStatus, str]:
    """Wait for the answer to a stream.

    Raises:
        LaneBroken: something else came, or the connection ended.
    """
    number, size = _STATUS.unpack(connection.receive(_STATUS.size))
    if number not in tuple(StreamStatus) or size > MAX_TEXT_BYTES:
        raise DataChannelBroken(f"an answer of kind {number} and {size} bytes came")
    return StreamStatus(number), printable(connection.receive(size).decode(errors="replace"), MAX_SHOWN)

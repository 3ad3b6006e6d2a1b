"""What goes over a lane beside values: the preamble, the marks between frames, and the answer to a stream.

The connecting side sends the preamble and waits for ``WELCOME``. Then streams follow each other: a header, frames, an
end. To each stream the other side answers once: after its end, or before where it takes no more of it.
"""

from __future__ import annotations

import enum
import struct
from typing import TYPE_CHECKING

from swarm.text import MAX_SHOWN, printable
from swarm.transport.lane.connection import LaneBroken
from swarm.transport.lane.tickets import TICKET_BYTES

if TYPE_CHECKING:
    from swarm.transport.lane.connection import Connection

PREAMBLE = struct.Struct(f">8sH{TICKET_BYTES}s")
"""Magic, version, ticket."""
MAGIC = b"SwarmLn\0"
VERSION = 1
WELCOME = b"\x01"
MAX_HEADER_BYTES = 16 * 2**10
MAX_TEXT_BYTES = 2000

_MARK = struct.Struct(">BI")
_ANSWER = struct.Struct(">BH")


class Mark(enum.IntEnum):
    """What follows; after ``END``, nothing."""

    HEADER = 1
    FRAME = 2
    END = 3


class Answer(enum.IntEnum):
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
    raise LaneBroken(f"a mark of kind {number} and {size} bytes came where none is allowed")


def send_answer(connection: Connection, answer: Answer, text: str = "") -> None:
    """Answer a stream.

    Raises:
        LaneBroken: the connection ended.
    """
    data = text.encode(errors="replace")[:MAX_TEXT_BYTES]
    connection.send([_ANSWER.pack(answer, len(data)), data])


def read_answer(connection: Connection) -> tuple[Answer, str]:
    """Wait for the answer to a stream.

    Raises:
        LaneBroken: something else came, or the connection ended.
    """
    number, size = _ANSWER.unpack(connection.receive(_ANSWER.size))
    if number not in tuple(Answer) or size > MAX_TEXT_BYTES:
        raise LaneBroken(f"an answer of kind {number} and {size} bytes came")
    return Answer(number), printable(connection.receive(size).decode(errors="replace"), MAX_SHOWN)

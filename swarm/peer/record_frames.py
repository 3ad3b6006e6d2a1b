"""Records of rounds as frames, as a peer that catches up fetches them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from swarm.certification.encoding import decode_record
from swarm.errors import ExchangeError, LedgerError
from swarm.records import Commit

FRAME_BYTES = 2**18
"""A frame ends with the record that makes it this long."""
MAX_RECORDS = 2**20
"""The most records that are taken."""


def record_frames(records: Iterator[bytes]) -> Iterator[tuple[bytes]]:
    """Encoded records as lines of JSON, many to a frame; few are in memory at a time.

    Raises:
        ExchangeError: there are none, as the record that was asked for is not known here; or the ledger cannot be read,
            also while the frames are taken.
    """
    records = _readable(records)
    first = next(records, None)
    if first is None:
        raise ExchangeError("these records are not here")
    return _frames(chain([first], records))


def _readable(records: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from records
    except LedgerError as error:
        raise ExchangeError(f"its ledger cannot be read: {error}") from error


def _frames(records: Iterable[bytes]) -> Iterator[tuple[bytes]]:
    lines: list[bytes] = []
    size = 0
    for record in records:
        lines.append(record)
        size += len(record)
        if size >= FRAME_BYTES:
            yield (b"\n".join(lines),)
            lines, size = [], 0
    if lines:
        yield (b"\n".join(lines),)


def read_records(frames: Iterable[memoryview]) -> Iterator[Commit]:
    """The records in frames of another peer.

    Raises:
        ExchangeError: there is something else in them, or too much.
    """
    count = 0
    for frame in frames:
        for line in bytes(frame).split(b"\n"):
            count += 1
            if count > MAX_RECORDS:
                raise ExchangeError(f"more than {MAX_RECORDS} records")
            try:
                yield decode_record(line)
            except ValueError as error:
                raise ExchangeError(str(error)) from error

"""A whole model as frames: a peer that catches up fetches it in shares from several others at once."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock

from swarm.errors import ExchangeError
from swarm.exchange.exchange import OutFrame
from swarm.exchange.layout import HEADER, FrameKind, frame, open_head, side_chunks, slice_chunks, values_of
from swarm.tensors.state import ModelState, Schema

MAX_PARTS = 64
"""Shares that a model may be cut into."""


def model_frames(model: ModelState, part: int = 0, parts: int = 1) -> Iterator[OutFrame]:
    """One share of a model; the first one brings the side block.

    Raises:
        ExchangeError: there is no such share.
    """
    if not 0 <= part < parts <= MAX_PARTS:
        raise ExchangeError(f"a model has no share {part} of {parts}; at most {MAX_PARTS} shares are served")
    return _frames(model, part, parts)


def _frames(model: ModelState, part: int, parts: int) -> Iterator[OutFrame]:
    segments = tuple(model.segments.values())
    for chunk in slice_chunks(model.schema, part, parts):
        yield frame(FrameKind.RESULT, chunk.segment, chunk.start, segments[chunk.segment][chunk.start : chunk.stop])
    if part == 0:
        packed = memoryview(model.pack_side())
        for start, stop in side_chunks(len(packed)):
            yield frame(FrameKind.SIDE, 0, start, packed[start:stop])


def share_nbytes(schema: Schema, part: int, parts: int) -> int:
    """Bytes of the values in one share of a model."""
    side = schema.side_nbytes if part == 0 else 0
    return sum(chunk.nbytes(schema) for chunk in slice_chunks(schema, part, parts)) + side


class Assembly:
    """Puts a model together from its shares, which may arrive on several threads."""

    def __init__(self, schema: Schema, parts: int) -> None:
        self._schema = schema
        self._parts = parts
        self._lock = Lock()
        self._model = ModelState.empty(schema)
        self._segments = tuple(self._model.segments.values())
        self._side = bytearray(schema.side_nbytes)
        self._taken: set[int] = set()

    @property
    def missing(self) -> tuple[int, ...]:
        """Shares that were not taken yet."""
        return tuple(part for part in range(self._parts) if part not in self._taken)

    def take(self, part: int, frames: Iterator[memoryview]) -> None:
        """Take one share, as ``model_frames`` gave it on another peer.

        Raises:
            ExchangeError: a frame contradicts the schema, or some are missing.
        """
        wanted = {(chunk.segment, chunk.start): chunk for chunk in slice_chunks(self._schema, part, self._parts)}
        side_left = dict(side_chunks(self._schema.side_nbytes)) if part == 0 else {}
        for data in frames:
            head, payload = open_head(data), data[HEADER.size :]
            kind, segment, start = head.kind, head.segment, head.start
            if kind is FrameKind.RESULT and (segment, start) in wanted:
                chunk = wanted.pop((segment, start))
                target = self._segments[segment][chunk.start : chunk.stop]
                target[...] = values_of(payload, target.dtype.name, chunk.size)
            elif kind is FrameKind.SIDE and side_left.get(start) == start + len(payload):
                self._side[start : side_left.pop(start)] = payload
            else:
                raise ExchangeError(f"a frame ({kind.name}, segment {segment}, {start}) that the share does not have")
        if wanted or side_left:
            raise ExchangeError(f"{len(wanted) + len(side_left)} chunks of the share are missing")
        with self._lock:
            self._taken.add(part)

    def model(self) -> ModelState:
        """The whole model.

        Raises:
            ExchangeError: shares are missing.
        """
        if self.missing:
            raise ExchangeError(f"shares {', '.join(map(str, self.missing))} of the model are missing")
        self._model.unpack_side(memoryview(self._side))
        return self._model

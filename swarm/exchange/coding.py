"""How the chunks of one attempt are coded, relative to the model of the round before, and the error feedback for it."""

from __future__ import annotations

from collections.abc import Callable

from swarm.codec.base import Codec, unchanged
from swarm.codec.exact import ExactCodec
from swarm.errors import ExchangeError
from swarm.exchange.layout import Chunk
from swarm.merge.distance import squared_distance
from swarm.tensors.buffers import BufferPool
from swarm.tensors.state import Array, ModelState, as_bytes, dtype_name

NOTHING = memoryview(b"")
EXACT = ExactCodec()
Residual = dict[str, Array]
"""Coding errors of earlier rounds that were not sent yet, one array for each segment of weights."""


class ChunkCoder:
    """Codes and decodes the chunks of one attempt, each on any thread. Moments of optimizers travel as they are.

    Args:
        codec: the round's.
        reference: the model of the round before, which every member of the group holds. None where there is none:
            then everything travels as it is.
        residual: coding errors of earlier rounds, which are sent with this one; None: no error feedback.
        memory: for payloads.
    """

    def __init__(
        self,
        codec: Codec | None = None,
        reference: ModelState | None = None,
        residual: Residual | None = None,
        memory: BufferPool | None = None,
    ) -> None:
        self.relative = reference is not None
        """Whether there is a model of the round before."""
        self._codec = codec if codec and reference else EXACT
        self._moments = reference.schema.moments if reference else None
        self._origins = tuple(reference.segments.values()) if reference else ()
        self.residual = residual
        self._residuals = tuple(residual.values()) if residual and reference else ()
        self._memory = memory or BufferPool(0)
        self._lossy: list[tuple[Chunk, Callable[[], Array]]] = []

    def origin(self, chunk: Chunk) -> Array | None:
        """The chunk of the model of the round before; None where there is none."""
        return _part(self._origins, chunk)

    def squared_distance(self, chunk: Chunk, values: Array) -> float:
        """How far ``values`` are from the model of the round before; 0 where there is none."""
        origin = self.origin(chunk)
        return 0.0 if origin is None else squared_distance(values, origin)

    def verbatim(self, chunk: Chunk, dtype: str, nbytes: int) -> bool:
        """Whether ``nbytes`` bytes of payload are the values of a chunk of ``dtype`` as they are."""
        return nbytes > 0 and self._codec_of(chunk).verbatim(dtype)

    def encode(self, chunk: Chunk, values: Array, again: Callable[[], Array] | None = None) -> memoryview:
        """The payload that stands for ``values``, which may be their own memory: they must not change any more.

        ``again`` gives the same values where they may lie elsewhere by the time of ``update_residual``.
        """
        origin, codec, dtype = _part(self._origins, chunk), self._codec_of(chunk), dtype_name(values.dtype)
        if codec.verbatim(dtype):
            return NOTHING if unchanged(values, origin) else as_bytes(values)
        residual = _part(self._residuals, chunk)
        payload = self._memory.empty(codec.encoded_nbytes(values.size, dtype), "uint8").data
        if residual is not None:
            self._lossy.append((chunk, again or (lambda: values)))
        return payload[: codec.encode(values, origin, payload, residual)]

    def require_length(self, chunk: Chunk, dtype: str, nbytes: int) -> None:
        """Refuse a payload of another length than a chunk of ``dtype`` has, before there is memory for it.

        Raises:
            ExchangeError: it has another length, and is not empty.
        """
        codec, size = self._codec_of(chunk), chunk.size
        if nbytes and nbytes != (expected := codec.encoded_nbytes(size, dtype)):
            raise ExchangeError(f"a chunk of {size} {dtype} takes {expected} bytes in {codec.name}, not {nbytes}")

    def decode(self, chunk: Chunk, payload: memoryview, out: Array) -> None:
        """Write the values that a payload stands for to ``out``.

        Raises:
            ExchangeError: it has another length than such a chunk, or gives NaN or infinity.
        """
        self._codec_of(chunk).decode(payload, _part(self._origins, chunk), out)

    def update_residual(self) -> None:
        """The attempt has committed: replace the residual by the coding errors of its chunks.

        To be called while the values that were given to ``encode`` still stand.
        """
        for chunk, again in self._lossy:
            values = again()
            origin, residual = _part(self._origins, chunk), _part(self._residuals, chunk)
            if origin is not None and residual is not None:
                self._codec.update_residual(values, origin, residual)
        self._lossy.clear()

    def _codec_of(self, chunk: Chunk) -> Codec:
        return EXACT if chunk.segment == self._moments else self._codec


def _part(segments: tuple[Array, ...], chunk: Chunk) -> Array | None:
    return segments[chunk.segment][chunk.start : chunk.stop] if segments else None

"""The codec of a round: the configured one, or the fastest one by measurement."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from swarm.clock import Clock, MonotonicClock
from swarm.tensors.state import MOMENTS, numpy_dtype, segment_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from swarm.codec.base import Codec
    from swarm.tensors.state import Schema

EXACT = "exact"
AUTO = "auto"
SAMPLE = 1 << 18
"""Number of values that are encoded to measure the cost of encoding."""
ENOUGH = 2
"""Exact rounds before another codec is considered."""
GAIN = 0.9
"""A codec replaces ``exact`` if its rounds take at most this fraction of the time."""
REFRESH = 64
"""Number of rounds after which the measurements are repeated, because links and loads change."""
KEPT = 5
"""Number of measurements per codec of which the median is used."""


class CodecChoice(ABC):
    """Selects the codec of each round that this peer leads."""

    @abstractmethod
    def choose(self) -> str:
        """The codec of the next round."""

    @abstractmethod
    def measured(self, codec: str, seconds: float) -> None:
        """Record that an exchange with ``codec`` took ``seconds``."""


class FixedCodec(CodecChoice):
    """Always the same codec."""

    def __init__(self, name: str) -> None:
        self._name = name

    def choose(self) -> str:
        return self._name

    def measured(self, codec: str, seconds: float) -> None:
        pass


class QuickestCodec(CodecChoice):
    """The fastest codec by measurement.

    The first rounds use ``exact``; their duration gives the speed of the link. A sample gives the cost of encoding. A
    codec with a better estimate is tried. It is kept only if its rounds are measured to be faster than exact ones.

    Args:
        codecs: the candidates by name, including ``exact``.
        schema: of the model.
        cost: seconds that one peer needs to encode and decode a model of ``schema`` in a round.
        say: called with a sentence for the log whenever the choice changes.
    """

    def __init__(
        self,
        codecs: Mapping[str, Codec],
        schema: Schema,
        say: Callable[[str], None],
        cost: Callable[[Codec, Schema], float] | None = None,
    ) -> None:
        self._codecs = codecs
        self._schema = schema
        self._say = say
        self._cost = cost or coding_seconds
        self._costs: dict[str, float] = {}
        self._seconds: dict[str, deque[float]] = {name: deque(maxlen=KEPT) for name in codecs}
        self._rounds = 0
        self._last = EXACT

    def choose(self) -> str:
        if len(self._seconds[EXACT]) < ENOUGH:
            return EXACT
        expected = {name: self._expected(name) for name in self._codecs}
        best = min(expected, key=lambda name: expected[name])
        if expected[best] > GAIN * expected[EXACT]:
            best = EXACT
        if best != self._last:
            self._last = best
            times = ", ".join(f"{name} {seconds:.3g} s" for name, seconds in expected.items())
            self._say(f"codec {best} from now on; expected seconds per exchange: {times}")
        return best

    def measured(self, codec: str, seconds: float) -> None:
        self._rounds += 1
        if self._rounds % REFRESH == 0:
            for history in self._seconds.values():
                history.clear()
        if codec in self._seconds:
            self._seconds[codec].append(seconds)

    def _expected(self, name: str) -> float:
        if self._seconds[name]:
            return median(self._seconds[name])
        if name not in self._costs:
            self._costs[name] = self._cost(self._codecs[name], self._schema)
        share = _nbytes(self._codecs[name], self._schema) / max(_nbytes(self._codecs[EXACT], self._schema), 1)
        return share * median(self._seconds[EXACT]) + self._costs[name]


def coding_seconds(codec: Codec, schema: Schema, clock: Clock | None = None) -> float:
    """Seconds of encoding and decoding per peer and round, estimated from a sample.

    In a round a peer encodes about one model and decodes about two.
    """
    total, now = 0.0, (clock or MonotonicClock()).now
    for dtype, size in schema.of_model.segments.items():
        count = min(size, SAMPLE)
        if codec.verbatim(dtype) or not count:
            continue
        origin = np.zeros(count, numpy_dtype(dtype))
        values = np.linspace(-1, 1, count).astype(origin.dtype)
        payload = memoryview(bytearray(codec.encoded_nbytes(count, dtype)))
        took = []
        for _ in range(3):
            started = now()
            codec.encode(values, origin, payload)
            written = now()
            codec.decode(payload, origin, values.copy())
            took.append((written - started) + 2 * (now() - written))
        total += min(took) * size / count
    return total


def _nbytes(codec: Codec, schema: Schema) -> int:
    """Bytes of the segments under a codec; moments travel as they are."""
    weights = sum(codec.encoded_nbytes(size, dtype) for dtype, size in schema.of_model.segments.items())
    return weights + numpy_dtype(segment_dtype(MOMENTS)).itemsize * schema.segments.get(MOMENTS, 0)

"""Which codec a round takes: the one that was asked for, or the one that is quickest here."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from swarm.tensors.state import numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from swarm.codec.base import Codec
    from swarm.tensors.state import Schema

EXACT = "exact"
AUTO = "auto"
SAMPLE = 1 << 18
"""Values that are coded to learn what coding costs."""
ENOUGH = 2
"""Exact rounds before another codec is considered."""
GAIN = 0.9
"""A codec is taken instead of ``exact`` if its rounds take at most this share of the time."""
REFRESH = 64
"""Rounds after which all is measured anew: links and loads change."""
KEPT = 5


class CodecChoice(ABC):
    """Names the codec of each round that this peer leads."""

    @abstractmethod
    def choose(self) -> str:
        """The codec of the next round."""

    @abstractmethod
    def measured(self, codec: str, seconds: float) -> None:
        """An exchange under ``codec`` took so long here."""


class FixedCodec(CodecChoice):
    """Always the same one."""

    def __init__(self, name: str) -> None:
        self._name = name

    def choose(self) -> str:
        return self._name

    def measured(self, codec: str, seconds: float) -> None:
        pass


class QuickestCodec(CodecChoice):
    """By measurement: ``exact`` first; then what its rounds took tells the link, and a sample tells what coding costs.

    A codec that promises a gain is tried, and kept only if its rounds really are quicker than those of ``exact``.

    Args:
        codecs: to choose from, by name; ``exact`` among them.
        schema: of the model.
        cost: seconds that one peer spends on coding a model of ``schema`` in a round.
        say: takes a sentence whenever the choice changes.
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


def coding_seconds(codec: Codec, schema: Schema) -> float:
    """What coding costs a peer in a round, by a sample: the model is written about once, and read about twice."""
    total = 0.0
    for dtype, size in schema.segments.items():
        count = min(size, SAMPLE)
        if codec.verbatim(dtype) or not count:
            continue
        origin = np.zeros(count, numpy_dtype(dtype))
        values = np.linspace(-1, 1, count).astype(origin.dtype)
        payload = memoryview(bytearray(codec.encoded_nbytes(count, dtype)))
        took = []
        for _ in range(3):
            started = time.perf_counter()
            codec.encode(values, origin, payload)
            written = time.perf_counter()
            codec.decode(payload, origin, values.copy())
            took.append((written - started) + 2 * (time.perf_counter() - written))
        total += min(took) * size / count
    return total


def _nbytes(codec: Codec, schema: Schema) -> int:
    return sum(codec.encoded_nbytes(size, dtype) for dtype, size in schema.segments.items())

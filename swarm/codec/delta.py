"""Base class of lossy codecs, which encode differences from the reference block by block."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from swarm.codec.base import Codec, require_length, take_reference, unchanged
from swarm.errors import ExchangeError
from swarm.overrides import is_outdated
from swarm.tensors.kernels import native, takes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from numpy.typing import NDArray

    from swarm.tensors.kernels import DeltaKernels
    from swarm.tensors.state import Array

    Wide = NDArray[np.floating[Any]]
    """Differences: float64 for float64 values, float32 for all others."""
    Packed = NDArray[np.uint8]

BLOCK = 1 << 15
"""Number of values processed at a time, so that temporaries fit into the cache. A multiple of every ``group``."""


class DeltaCodec(Codec):
    """A codec that encodes differences in independent groups.

    A subclass implements the three abstract methods. This class handles differences, residual, unchanged chunks and
    checks.
    """

    group: ClassVar[int] = 1
    """Values that are encoded together: a power of two, at most ``BLOCK``. The last group of a chunk may be shorter."""
    compiled: ClassVar[DeltaKernels | None] = None
    """Compiled functions for float32, if available."""

    def __init_subclass__(cls) -> None:
        """Disable the inherited kernels if the subclass overrides the methods or the group that they implement."""
        super().__init_subclass__()
        if is_outdated(cls, "compiled", "pack", "unpack", "packed_nbytes", "group"):
            cls.compiled = None

    @abstractmethod
    def packed_nbytes(self, size: int) -> int:
        """Bytes of ``size`` differences; additive over groups."""

    @abstractmethod
    def pack(self, differences: Wide, out: Packed) -> None:
        """Encode differences into ``packed_nbytes`` bytes; ``differences`` may be overwritten.

        Raises:
            ExchangeError: they contain, or would become, NaN or infinity.
        """

    @abstractmethod
    def unpack(self, data: Packed, out: Wide) -> None:
        """Decode differences that ``pack`` has encoded.

        Raises:
            ExchangeError: the bytes encode NaN or infinity.
        """

    def exact(self, dtype: str) -> bool:
        return False

    def encoded_nbytes(self, size: int, dtype: str) -> int:
        return self.packed_nbytes(size)

    def encode(self, values: Array, reference: Array | None, out: memoryview, residual: Array | None = None) -> int:
        common = self._require_reference(reference)
        if unchanged(values, reference, residual):
            return 0
        nbytes = self.packed_nbytes(values.size)
        packed = np.frombuffer(out, np.uint8)[:nbytes]
        if self.compiled and takes(values, reference, residual):
            if not self.compiled.encode(values, common, residual, packed):
                raise ExchangeError(f"a difference in {self.name} is NaN, infinite or too large")
            return nbytes
        scratch = _scratch(values)
        for part, place in self._blocks(values.size):
            self.pack(_differences(values, common, residual, part, scratch), packed[place])
        return nbytes

    def decode(self, data: memoryview, reference: Array | None, out: Array) -> None:
        common = self._require_reference(reference)
        if not data:
            take_reference(common, out)
            return
        require_length(data, self.packed_nbytes(out.size), out, self.name)
        packed = np.frombuffer(data, np.uint8)
        if self.compiled and takes(common, out):
            self._require_decoded(self.compiled.decode(packed, common, out), out)
            return
        scratch = _scratch(out)
        for part, place in self._blocks(out.size):
            differences = scratch[: part.stop - part.start]
            self.unpack(packed[place], differences)
            target = out[part]
            native = target.dtype == differences.dtype
            try:
                with np.errstate(over="raise", invalid="raise"):
                    np.add(common[part], differences, out=target if native else differences)
            except FloatingPointError as error:
                raise _out_of_range(self.name, out) from error
            if not native:
                _narrow(differences, target, self.name)

    def update_residual(self, values: Array, reference: Array, residual: Array) -> None:
        if self.compiled and self.compiled.update_residual and takes(values, reference, residual):
            if not self.compiled.update_residual(values, reference, residual):
                raise ExchangeError(f"a difference in {self.name} is NaN, infinite or too large")
            return
        scratch, kept = _scratch(values), _scratch(values)
        packed = np.empty(self.packed_nbytes(len(scratch)), np.uint8)
        for part, place in self._blocks(values.size):
            differences = _differences(values, reference, residual, part, scratch)
            left, coded = kept[: len(differences)], packed[: place.stop - place.start]
            np.copyto(left, differences)
            self.pack(differences, coded)
            self.unpack(coded, differences)
            residual[part] = np.subtract(left, differences, out=left)

    def _blocks(self, size: int) -> Iterator[tuple[slice, slice]]:
        """Slices of the values, and of the bytes that encode them."""
        for start in range(0, size, BLOCK):
            stop = min(start + BLOCK, size)
            first = self.packed_nbytes(start)
            yield slice(start, stop), slice(first, first + self.packed_nbytes(stop - start))

    def _require_decoded(self, outcome: int, out: Array) -> None:
        if native and outcome == native.CODE_NOT_FINITE:
            raise ExchangeError(f"a difference or a scale in {self.name} is NaN, infinite or too large")
        if native and outcome == native.OUT_OF_RANGE:
            raise _out_of_range(self.name, out)

    def _require_reference(self, reference: Array | None) -> Array:
        if reference is None:
            raise ExchangeError(f"the codec {self.name!r} encodes differences, but there is no reference model")
        return reference


def _narrow(sums: Wide, target: Array, codec: str) -> None:
    with np.errstate(over="ignore"):
        target[...] = sums
    if not np.isfinite(target.astype(np.float32)).all():
        raise _out_of_range(codec, target)


def _out_of_range(codec: str, out: Array) -> ExchangeError:
    return ExchangeError(f"a value decoded with {codec} is out of the range of {out.dtype}")


def _scratch(like: Array) -> Wide:
    return np.empty(min(like.size, BLOCK), np.float64 if like.dtype == np.float64 else np.float32)


def _differences(values: Array, reference: Array, residual: Array | None, part: slice, scratch: Wide) -> Wide:
    differences = scratch[: part.stop - part.start]
    with np.errstate(over="ignore", invalid="ignore"):  # ``pack`` raises for the result
        np.subtract(values[part], reference[part], out=differences, dtype=differences.dtype)
        if residual is not None:
            np.add(differences, residual[part], out=differences)
    return differences

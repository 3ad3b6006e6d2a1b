"""Differences as bfloat16."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import ml_dtypes
import numpy as np

from swarm.codec.delta import DeltaCodec
from swarm.codec.exact import ExactCodec
from swarm.errors import ExchangeError
from swarm.tensors.kernels import delta_kernels
from swarm.tensors.state import dtype_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swarm.codec.delta import Packed, Wide
    from swarm.tensors.state import Array

NATIVE = ("float16", "bfloat16")
_EXACT = ExactCodec()
_MAGNITUDE = np.uint16(0x7FFF)
_INFINITY = np.uint16(0x7F80)


class Bf16Codec(DeltaCodec):
    """Two bytes per value: the difference rounded to bfloat16, to nearest, ties to even (float64 through float32).

    The relative error of a difference of at least 2^-126 is at most 2^-8. float16 and bfloat16 values are sent exactly.
    """

    name: ClassVar[str] = "bf16"
    compiled = delta_kernels("bf16")
    norm_tolerance: ClassVar[float] = 2.0**-6
    """Encoding has a relative error of 2^-8. The resulting weight is rounded again, by at most half a unit in the last
    place: that changes nothing if the first error is less than a quarter of that unit, and is less than 2^-7 of the
    difference otherwise. Together 1.2 %, plus a margin for the order of summation."""

    def exact(self, dtype: str) -> bool:
        return dtype in NATIVE

    def verbatim(self, dtype: str) -> bool:
        return self.exact(dtype)

    def encoded_nbytes(self, size: int, dtype: str) -> int:
        return self.packed_nbytes(size)

    def encode(self, values: Array, reference: Array | None, out: memoryview, residual: Array | None = None) -> int:
        if self.exact(dtype_name(values.dtype)):
            return _EXACT.encode(values, reference, out)
        return super().encode(values, reference, out, residual)

    def decode(self, data: memoryview, reference: Array | None, out: Array) -> None:
        if self.exact(dtype_name(out.dtype)):
            _EXACT.decode(data, reference, out)
        else:
            super().decode(data, reference, out)

    def update_residual(self, values: Array, reference: Array, residual: Array) -> None:
        if not self.exact(dtype_name(values.dtype)):
            super().update_residual(values, reference, residual)

    def packed_nbytes(self, size: int) -> int:
        return 2 * size

    def pack(self, differences: Wide, out: Packed) -> None:
        coded = out.view(ml_dtypes.bfloat16)
        with np.errstate(over="ignore", invalid="ignore"):
            coded[...] = differences.astype(np.float32, copy=False)
        _require_finite(coded.view(np.uint16))

    def unpack(self, data: Packed, out: Wide) -> None:
        coded = data.view(ml_dtypes.bfloat16)
        _require_finite(coded.view(np.uint16))
        out[...] = coded


def _require_finite(bits: NDArray[np.uint16]) -> None:
    if (bits & _MAGNITUDE).max(initial=0) >= _INFINITY:
        raise ExchangeError("a difference in bf16 is NaN, infinite or too large")

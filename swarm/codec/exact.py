"""The codec that sends values unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from swarm.codec.base import Codec, require_length, take_reference, unchanged
from swarm.errors import ExchangeError
from swarm.tensors.state import as_bytes, is_finite, numpy_dtype

if TYPE_CHECKING:
    from swarm.tensors.state import Array


class ExactCodec(Codec):
    """The native bytes of the values. With a reference, an unchanged chunk has 0 bytes."""

    name: ClassVar[str] = "exact"
    norm_tolerance: ClassVar[float] = 1e-3
    """Values are exact; only the order of summation differs."""

    def exact(self, dtype: str) -> bool:
        return True

    def verbatim(self, dtype: str) -> bool:
        return self.exact(dtype)

    def encoded_nbytes(self, size: int, dtype: str) -> int:
        return size * numpy_dtype(dtype).itemsize

    def encode(self, values: Array, reference: Array | None, out: memoryview, residual: Array | None = None) -> int:
        if unchanged(values, reference):
            return 0
        out[: values.nbytes] = as_bytes(values)
        return values.nbytes

    def decode(self, data: memoryview, reference: Array | None, out: Array) -> None:
        if not data and out.size:
            take_reference(reference, out)
            return
        require_length(data, out.nbytes, out, self.name)
        values = np.frombuffer(data, out.dtype)
        with np.errstate(invalid="ignore"):  # signalling NaNs
            finite = is_finite(values)
        if not finite:
            raise ExchangeError(f"a chunk of {out.size} {out.dtype} in {self.name} contains NaN or infinity")
        np.copyto(out, values)

    def update_residual(self, values: Array, reference: Array, residual: Array) -> None:
        pass

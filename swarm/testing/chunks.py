"""Chunks of models to test codecs with, and both ways through a codec."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from swarm.tensors.state import numpy_dtype

if TYPE_CHECKING:
    from swarm.codec.base import Codec
    from swarm.tensors.state import Array


def models(size: int, dtype: str, *, seed: int = 0, step: float = 1e-2) -> tuple[Array, Array]:
    """A reference, and the values of a peer that has trained on from it."""
    rng = np.random.default_rng(seed)
    reference = rng.standard_normal(size)
    values = reference + step * rng.standard_normal(size)
    return values.astype(numpy_dtype(dtype)), reference.astype(numpy_dtype(dtype))


def encoded(codec: Codec, values: Array, reference: Array | None, residual: Array | None = None) -> bytes:
    """What travels."""
    out = memoryview(bytearray(codec.encoded_nbytes(values.size, values.dtype.name)))
    return out[: codec.encode(values, reference, out, residual)].tobytes()


def decoded(codec: Codec, data: bytes, reference: Array | None, like: Array) -> Array:
    """What arrives."""
    out = np.empty_like(like)
    codec.decode(memoryview(data), reference, out)
    return out

"""Compiled inner loops over weights, each in one pass, if a compiler was available at installation.

``native`` is None otherwise. Then NumPy computes the same results with several times the CPU time. The caller of a
kernel first checks ``takes`` or ``readable``, and uses NumPy for other dtypes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import ml_dtypes
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

native: ModuleType | None
try:
    from swarm.tensors.kernels import _native as native
except ImportError:
    native = None

_FLOAT32 = np.dtype(np.float32)
_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_READABLE = (_FLOAT32, np.dtype(np.float16), _BFLOAT16)
_BITS = np.dtype(np.uint16)


def takes(*arrays: Array | None) -> bool:
    """Whether compiled kernels exist and support these arrays: contiguous, aligned, float32 (or None)."""
    return native is not None and _are_of(_FLOAT32, arrays)


def readable(first: Array, *others: Array | None) -> Sequence[Array | None] | None:
    """The arrays as the kernels for all float dtypes read them: bfloat16 as uint16.

    None if there are no kernels, or if the arrays are not contiguous, aligned and of one dtype.
    """
    dtype, arrays = first.dtype, (first, *others)
    if native is None or dtype not in _READABLE or not _are_of(dtype, arrays):
        return None
    return arrays if dtype != _BFLOAT16 else [None if array is None else array.view(_BITS) for array in arrays]


def _are_of(dtype: np.dtype[np.generic], arrays: Sequence[Array | None]) -> bool:
    for array in arrays:  # no generator expression: this runs for every chunk
        if array is None:
            continue
        flags = array.flags
        if not (array.dtype is dtype and flags.c_contiguous and flags.aligned):
            return False
    return True


class DeltaKernels(NamedTuple):
    """The compiled functions of a codec; see ``_native.pyi``."""

    encode: Callable[..., bool]
    decode: Callable[..., int]
    update_residual: Callable[..., bool] | None


def delta_kernels(codec: str) -> DeltaKernels | None:
    """The compiled functions of the codec with this name; None if there are none."""
    encode, decode, update = (
        getattr(native, f"{codec}_{step}", None) for step in ("encode", "decode", "update_residual")
    )
    return DeltaKernels(encode, decode, update) if encode and decode else None

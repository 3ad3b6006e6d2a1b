"""The inner loops over weights in one compiled pass each, where a compiler was there when this package was installed.

``native`` is None where there was none: everything then runs on NumPy, with the same results and several times the
processor time. Who calls a kernel asks ``takes`` or ``readable`` first, and has the same in NumPy for other dtypes.
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
    """Whether the compiled kernels are here and take these arrays: contiguous and aligned ones of float32, or None."""
    return native is not None and _are_of(_FLOAT32, arrays)


def readable(first: Array, *others: Array | None) -> Sequence[Array | None] | None:
    """The arrays as those kernels read them that know half precision too: bfloat16 as its bits.

    None where the kernels are not here or do not take these: they take contiguous and aligned arrays of one dtype.
    """
    dtype, arrays = first.dtype, (first, *others)
    if native is None or dtype not in _READABLE or not _are_of(dtype, arrays):
        return None
    return arrays if dtype != _BFLOAT16 else [None if array is None else array.view(_BITS) for array in arrays]


def _are_of(dtype: np.dtype[np.generic], arrays: Sequence[Array | None]) -> bool:
    for array in arrays:  # no generator: this is asked for every chunk
        if array is None:
            continue
        flags = array.flags
        if not (array.dtype is dtype and flags.c_contiguous and flags.aligned):
            return False
    return True


class DeltaKernels(NamedTuple):
    """A codec of differences, compiled; see ``_native.pyi``."""

    encode: Callable[..., bool]
    decode: Callable[..., int]
    carry: Callable[..., bool] | None


def delta_kernels(codec: str) -> DeltaKernels | None:
    """Those of a codec, by its name; None where it has none."""
    encode, decode, carry = (getattr(native, f"{codec}_{step}", None) for step in ("encode", "decode", "carry"))
    return DeltaKernels(encode, decode, carry) if encode and decode else None

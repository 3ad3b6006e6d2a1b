"""The inner loops over weights in one compiled pass each, where a compiler was there when this package was installed.

``native`` is None where there was none: everything then runs on NumPy, with the same results and several times the
processor time. Who calls a kernel asks ``takes`` first, and has the same in NumPy for other dtypes.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

native: ModuleType | None
try:
    from swarm.kernels import _native as native
except ImportError:
    native = None

_FLOAT32 = np.dtype(np.float32)


def takes(*arrays: NDArray[np.generic] | None) -> bool:
    """Whether the compiled kernels are here and take these arrays: contiguous and aligned ones of float32, or None."""
    if native is None:
        return False
    for array in arrays:  # no generator: this is asked for every piece
        if array is None:
            continue
        flags = array.flags
        if not (array.dtype is _FLOAT32 and flags.c_contiguous and flags.aligned):
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

# Kernels for contiguous buffers of float32 (or half precision where stated). They run without Python's lock.
#
# They raise ``ValueError`` if formats or lengths do not match, and ``BufferError`` if memory is not contiguous or not
# writable. NaN and infinity are returned, never raised.

from collections.abc import Sequence

from typing_extensions import Buffer

DECODED: int
CODE_NOT_FINITE: int
OUT_OF_RANGE: int

# Squared Euclidean distance, in the blocks of the NumPy version; finite if and only if all values are. This and the
# next two functions take float32, float16, or bfloat16 as uint16.
def squared_distance(values: Buffer, origin: Buffer | None, /) -> float: ...

# Whether no value is NaN or infinite.
def all_finite(values: Buffer, /) -> bool: ...

# The first of two or more columns minus the differences of the others from it, weighted by float64 ``factors``. With
# an ``origin``, ``distances`` receives the squared distance of each column from it, as float64.
def combine(
    columns: Sequence[Buffer], factors: Buffer, origin: Buffer | None, distances: Buffer | None, out: Buffer, /
) -> None: ...

# Add the inner products of the columns' differences from ``origin`` to ``gram``, float64[n, n].
def add_products(columns: Sequence[Buffer], origin: Buffer, gram: Buffer, /) -> None: ...

# The median of each coordinate; for an even count the midpoint of the two middle values. ``network`` is int32[m, 4],
# the fields of each ``Comparator``.
def median(columns: Sequence[Buffer], network: Buffer, out: Buffer, /) -> None: ...

# Differences as bfloat16; False if one is, or becomes, NaN or infinite.
def bf16_encode(values: Buffer, reference: Buffer, residual: Buffer | None, out: Buffer, /) -> bool: ...

# Reference plus differences; returns ``DECODED`` or the kind of error.
def bf16_decode(data: Buffer, reference: Buffer, out: Buffer, /) -> int: ...

# Differences as scaled groups of int8; False if a scale is not finite.
def int8_encode(values: Buffer, reference: Buffer, residual: Buffer | None, out: Buffer, /) -> bool: ...

# Reference plus differences; returns ``DECODED`` or the kind of error.
def int8_decode(data: Buffer, reference: Buffer, out: Buffer, /) -> int: ...

# Replace ``residual`` by the error of ``int8_encode``; False as there.
def int8_update_residual(values: Buffer, reference: Buffer, residual: Buffer, /) -> bool: ...

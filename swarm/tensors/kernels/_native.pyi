# Kernels for contiguous buffers, of float32 but where half precision is named, run without Python's lock.
#
# They raise ``ValueError`` where formats or lengths do not belong together, and ``BufferError`` where memory is not
# contiguous or may not be written. NaN and infinity are told, never raised.

from collections.abc import Sequence

from typing_extensions import Buffer

DECODED: int
CODE_NOT_FINITE: int
OUT_OF_RANGE: int

# Squared Euclidean distance, in blocks as NumPy does; finite if and only if all values are. Of float32, float16, or
# bfloat16 as uint16, as are the next two.
def squared_distance(values: Buffer, origin: Buffer | None, /) -> float: ...

# Whether no value is NaN or infinite.
def all_finite(values: Buffer, /) -> bool: ...

# The first of two columns or more minus the others' differences from it, weighted by float64 ``factors``. Where there
# is an ``origin``, ``distances`` takes the squared distance of each column from it, as float64.
def combine(
    columns: Sequence[Buffer], factors: Buffer, origin: Buffer | None, distances: Buffer | None, out: Buffer, /
) -> None: ...

# Add the inner products of the columns' differences from ``origin`` to ``gram``, float64[n, n].
def add_products(columns: Sequence[Buffer], origin: Buffer, gram: Buffer, /) -> None: ...

# The median of each coordinate, the midpoint of two for an even count. ``network`` is int32[m, 4]: the fields of a
# ``Comparator``, each.
def median(columns: Sequence[Buffer], network: Buffer, out: Buffer, /) -> None: ...

# Differences as bfloat16; False where one is NaN or infinite, or becomes so.
def bf16_encode(values: Buffer, reference: Buffer, residual: Buffer | None, out: Buffer, /) -> bool: ...

# Reference plus differences: ``DECODED``, or what is wrong.
def bf16_decode(data: Buffer, reference: Buffer, out: Buffer, /) -> int: ...

# Differences as scaled groups of int8; False where a scale cannot travel.
def int8_encode(values: Buffer, reference: Buffer, residual: Buffer | None, out: Buffer, /) -> bool: ...

# Reference plus differences: ``DECODED``, or what is wrong.
def int8_decode(data: Buffer, reference: Buffer, out: Buffer, /) -> int: ...

# Replace ``residual`` by what ``int8_encode`` loses; False as there.
def int8_carry(values: Buffer, reference: Buffer, residual: Buffer, /) -> bool: ...

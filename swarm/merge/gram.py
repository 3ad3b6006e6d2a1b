"""The two halves of a rule with the scope GRAM: inner products of the contributions, and their combination.

Inner products are sums over slices. The owner of each slice computes a part and sends n x n numbers to the others. So
every member knows the distances between whole contributions without having one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from swarm.merge.blocks import CACHED_ELEMENTS, blocks
from swarm.merge.distance import squared_distance
from swarm.tensors import kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swarm.tensors.state import Array


LONG = 1 << 18
"""Elements per check of the distances with compiled kernels, which divide them into blocks themselves."""
SMALL_PRODUCT = 1_000_000
"""Number of multiplications up to which OpenBLAS does not repack matrices."""
NEAR = 2.0**-8
"""A squared distance below this fraction of the squared norms has too few significant digits in float32."""
UNDERFLOW = 1e-24
"""Squared norms below this have too few significant digits, because float32 underflows."""
NOISE = 64 * np.finfo(np.float64).eps
"""Squared distances below this fraction of the squared norms are rounding errors and count as zero."""


def partial_gram(columns: Sequence[Array]) -> NDArray[np.float64]:
    """Inner products of aligned chunks of the contributions, as float64[n, n].

    The sum over all slices is a matrix that gives the distances between whole contributions. The origin is one of the
    contributions, possibly another one in each block, and a block is summed in float32. If cancellation or overflow
    would make a distance inexact, the origin is the median of each coordinate, and the sum is float64.
    """
    count, size = len(columns), columns[0].size
    gram = np.zeros((count, count))
    width = max(1024, min(8192, SMALL_PRODUCT // (count * (count + 1))))
    # With an additional row of zeros OpenBLAS uses a general product, several times faster than A @ A.T.
    scratch = np.zeros((count + 1, min(width, size)), np.float32)
    quick = columns[0].dtype != np.float64
    origin = 0
    step = LONG if kernels.takes(*columns) else CACHED_ELEMENTS
    for start in range(0, size, step):
        chunks = [column[start : start + step] for column in columns]
        products, origin = _quick_gram(chunks, origin, scratch) if quick else (None, origin)
        gram += _careful_gram(chunks) if products is None else products
    return (gram + gram.T) / 2


def _quick_gram(
    chunks: list[Array], origin: int, scratch: NDArray[np.float32]
) -> tuple[NDArray[np.float64] | None, int]:
    """Inner products relative to the contribution ``origin`` or a more central one; None if neither is exact enough.

    Also returns the contribution that the next block should try first.
    """
    for _ in range(2):
        gram = _products(chunks, chunks[origin], scratch)
        norms = gram.diagonal()
        largest = norms.max()
        if not UNDERFLOW < largest < np.inf:
            equal = largest == 0 and all(np.array_equal(chunk, chunks[0]) for chunk in chunks)
            return gram if equal else None, origin
        squares = norms + norms[:, None] - 2 * gram
        near = squares < NEAR * np.minimum(norms, norms[:, None])
        np.fill_diagonal(near, val=False)
        if not near.any():
            return gram, origin
        np.fill_diagonal(squares, 0)
        origin = int(np.argmin(np.sort(squares, axis=1)[:, len(chunks) // 2]))
    return None, origin


def _products(chunks: list[Array], origin: Array, scratch: NDArray[np.float32]) -> NDArray[np.float64]:
    """Inner products of the differences from ``origin``: summed in float32 within a block, in float64 over blocks."""
    if kernels.native and kernels.takes(*chunks, origin):
        products = np.zeros((len(chunks), len(chunks)))
        kernels.native.add_products(chunks, origin, products)
        return products
    count, width = len(chunks), scratch.shape[1]
    gram = np.zeros((count, count + 1))
    with np.errstate(all="ignore"):
        for start in range(0, origin.size, width):
            part = slice(start, start + width)
            differences = scratch[:, : origin[part].size]
            for row, chunk in zip(differences, chunks, strict=False):
                np.subtract(chunk[part], origin[part], out=row)
            gram += differences[:-1] @ differences.T
    return gram[:, :-1]


def _careful_gram(chunks: list[Array]) -> NDArray[np.float64]:
    """Inner products relative to the median of each coordinate, which a minority of contributions cannot move far."""
    products = np.zeros((len(chunks), len(chunks)))
    for part in blocks(chunks[0].size):
        values = np.stack([chunk[part] for chunk in chunks]).astype(np.float64)
        values -= np.partition(values, len(chunks) // 2, axis=0)[len(chunks) // 2]
        products += values @ values.T
    return products


def distances_between(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distances of the vectors with these inner products, as float64[n, n]."""
    norms = gram.diagonal()
    sums = norms + norms[:, None]
    squares = sums - 2 * gram
    distances: NDArray[np.float64] = np.sqrt(np.where(squares <= NOISE * sums, 0, squares))
    return distances


def combine(columns: Sequence[Array], coefficients: NDArray[np.float64], out: Array | None = None) -> Array:
    """The combination of aligned chunks by coefficients that sum to 1, in ``out`` if given: same dtype, rounded once.

    It is computed as the chunk with the largest coefficient minus the weighted differences of the others from it, added
    in their order. So equal contributions give exactly their value, signed zeros included, for any rounding of the
    coefficients. Chunks with the coefficient 0 are not read. Peers are close to each other, so float32 is sufficient
    for the differences of all dtypes but float64: the error is n roundings of a difference, not of a weight. If float32
    overflows, float64 is used.
    """
    merged = np.empty_like(columns[0]) if out is None else out
    order = [index for index in _order(coefficients) if coefficients[index]]
    factors = coefficients[order[1:]]
    used = [columns[index] for index in order]
    if kernels.native and len(used) > 1 and (readable := kernels.readable(*used, merged)):
        *chunks, into = readable
        kernels.native.combine(chunks, factors, None, None, into)
        return merged
    wide = np.float64 if merged.dtype == np.float64 else np.float32
    scratch = np.empty((2, min(merged.size, CACHED_ELEMENTS)), wide)
    with np.errstate(over="raise", invalid="raise"):
        for part in blocks(merged.size):
            origin, *others = (column[part] for column in used)
            try:
                _combine(origin, others, factors, scratch, merged[part])
            except FloatingPointError:
                with np.errstate(over="ignore", invalid="ignore"):
                    _combine(origin, others, factors, scratch.astype(np.float64), merged[part])
    return merged


def combine_measured(
    columns: Sequence[Array], coefficients: NDArray[np.float64], origin: Array, out: Array
) -> list[float]:
    """Like ``combine``, and return the squared distance of each chunk from ``origin``; not finite if values are not."""
    readable = kernels.readable(*columns, origin, out) if len(columns) > 1 else None
    if kernels.native is None or readable is None:
        squared = [squared_distance(column, origin) for column in columns]
        combine(columns, coefficients, out)
        return squared
    order = _order(coefficients)
    distances = np.empty(len(columns))
    *chunks, base, into = readable
    kernels.native.combine([chunks[index] for index in order], coefficients[order[1:]], base, distances, into)
    return [distances[order.index(index)].item() for index in range(len(columns))]


def _order(coefficients: NDArray[np.float64]) -> list[int]:
    """The chunk with the largest coefficient, then the others."""
    anchor = int(np.argmax(coefficients))
    return [anchor, *(index for index in range(len(coefficients)) if index != anchor)]


def _combine(
    origin: Array, others: list[Array], factors: NDArray[np.float64], scratch: NDArray[np.floating[Any]], out: Array
) -> None:
    """Combine one block; ``scratch`` is memory for two blocks, in the dtype of the computation."""
    if not others:
        out[...] = origin
        return
    wide = scratch.dtype.type
    offset, difference = scratch[:, : origin.size]
    origin = origin.astype(wide, copy=False)
    np.subtract(origin, others[0], out=offset)
    alike = bool((factors == factors[0]).all())  # one multiplication at the end is enough
    if not alike:
        offset *= wide(factors[0])
    for other, factor in zip(others[1:], factors[1:], strict=True):
        np.subtract(origin, other, out=difference)
        if not alike:
            difference *= wide(factor)
        offset += difference
    if alike:
        offset *= wide(factors[0])
    np.subtract(origin, offset, out=out, casting="same_kind")

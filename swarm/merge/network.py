"""Sorting networks: the median of n rows, and other ranks, by minima and maxima of whole rows, without branches."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


class Comparator(NamedTuple):
    """Puts the smaller of two rows first. Unused results are not computed."""

    first: int
    second: int
    wants_minimum: bool
    wants_maximum: bool


@lru_cache
def network(count: int, first: int, last: int) -> tuple[Comparator, ...]:
    """The comparators that move the rows of the ranks ``first`` to ``last``, of ``count`` from 0, to their places.

    Batcher's odd-even merge sort (Batcher 1968; Knuth, TAOCP 3, 5.2.2 M), without comparators that do not affect them.
    """
    wanted = {*range(first, last + 1)}
    kept = []
    for low, high in reversed(list(_merge_sort(count))):
        if low in wanted or high in wanted:
            kept.append(Comparator(low, high, low in wanted, high in wanted))
            wanted |= {low, high}
    return tuple(reversed(kept))


def median_network(count: int) -> tuple[Comparator, ...]:
    """The comparators that move the middle row of ``count``, or the middle two, to their places."""
    return network(count, (count - 1) // 2, count // 2)


def ranked(rows: NDArray[np.signedinteger], first: int, last: int) -> list[NDArray[np.signedinteger]]:
    """For each column of integers, the values of the ranks ``first`` to ``last``, from 0.

    Args:
        rows: one row per value to compare; overwritten.
        first: the lowest rank that is needed.
        last: the highest.
    """
    places, spare = list(rows), np.empty_like(rows[0])
    for lower, higher, wants_minimum, wants_maximum in network(len(rows), first, last):
        low, high = places[lower], places[higher]
        if not wants_maximum:
            np.minimum(low, high, out=low)
        elif not wants_minimum:
            np.maximum(low, high, out=high)
        else:
            np.minimum(low, high, out=spare)
            np.maximum(low, high, out=high)
            places[lower], spare = spare, low
    return places[first : last + 1]


def middle(rows: NDArray[np.signedinteger]) -> tuple[NDArray[np.signedinteger], NDArray[np.signedinteger]]:
    """The lower and the upper median of each column of integers; the same row for an odd count.

    Args:
        rows: one row per value to compare; overwritten.
    """
    found = ranked(rows, (len(rows) - 1) // 2, len(rows) // 2)
    return found[0], found[-1]


def flip(bits: NDArray[np.signedinteger]) -> None:
    """Convert the bits of IEEE numbers to integers of the same order, in place. A second call converts them back.

    Negative zero comes before positive zero, so the order is total: the same on every machine.
    """
    signs = bits >> (8 * bits.itemsize - 1)
    signs &= np.iinfo(bits.dtype).max
    bits ^= signs


def _merge_sort(count: int) -> Iterator[tuple[int, int]]:
    run = 1
    while run < count:
        step = run
        while step:
            for start in range(step % run, count - step, 2 * step):
                for first in range(start, start + min(step, count - start - step)):
                    if first // (2 * run) == (first + step) // (2 * run):
                        yield first, first + step
            step //= 2
        run *= 2

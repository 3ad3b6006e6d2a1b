"""Divides long vectors into blocks whose temporaries fit into the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHED_ELEMENTS = 32768
"""Number of float64 values in 256 KiB; two or three such arrays fit into a second-level cache."""


def blocks(size: int, rows: int = 1) -> Iterator[slice]:
    """Slices that cover ``range(size)`` in order, short enough that ``rows`` rows of a block fit into the cache."""
    step = max(1024, CACHED_ELEMENTS // rows)
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))

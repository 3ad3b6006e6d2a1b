"""Cutting long vectors into chunks whose temporaries stay in a core's cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHED_ELEMENTS = 32768
"""Float64 values, 256 KiB, of which two or three arrays fit a second-level cache."""


def blocks(size: int, rows: int = 1) -> Iterator[slice]:
    """Slices that cover ``range(size)`` in order, narrow enough for ``rows`` rows of each to fit the cache together."""
    step = max(1024, CACHED_ELEMENTS // rows)
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))

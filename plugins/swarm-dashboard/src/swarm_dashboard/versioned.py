"""Values with the number of their last change."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NamedTuple


class Versions:
    """Numbers changes."""

    def __init__(self) -> None:
        self.last = 0

    def next(self) -> int:
        """The number of a change that is made now."""
        self.last += 1
        return self.last


class Versioned(NamedTuple):
    """A value in JSON types, replaced as a whole."""

    version: int
    value: dict[str, Any]


def newer(entries: Sequence[Versioned], version: int) -> list[dict[str, Any]]:
    """The values of those entries that are newer than ``version``; the entries are in the order of their versions."""
    found = [each.value for each in takewhile(lambda each: each.version > version, reversed(entries))]
    return found[::-1]

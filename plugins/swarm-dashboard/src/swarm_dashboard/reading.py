"""Reads fields of what a peer has told: its text is escaped, and everything else about it is still to be checked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

Fields = Mapping[str, Any]
MOST = 1e15
"""Larger numbers count as absent."""


def text(fields: Fields, key: str) -> str:
    """A text; empty if there is none."""
    value = fields.get(key)
    return value if isinstance(value, str) else ""


def number(fields: Fields, key: str) -> float | None:
    """A finite number; None if there is none."""
    value = fields.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > MOST:
        return None
    return value


def count(fields: Fields, key: str) -> int:
    """A whole number from 0 on; 0 if there is none."""
    value = number(fields, key)
    return int(value) if value is not None and value >= 0 else 0


def texts(fields: Fields, key: str) -> list[str]:
    """The texts in a list."""
    value = fields.get(key)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def numbers(fields: Fields, key: str) -> dict[str, float]:
    """The finite numbers in a mapping, by name."""
    value = fields.get(key)
    if not isinstance(value, Mapping):
        return {}
    return {name: found for name in value if isinstance(name, str) and (found := number(value, name)) is not None}


def mappings(fields: Fields, key: str) -> Iterator[Fields]:
    """The mappings in a list."""
    value = fields.get(key)
    yield from (each for each in value if isinstance(each, Mapping)) if isinstance(value, list) else ()

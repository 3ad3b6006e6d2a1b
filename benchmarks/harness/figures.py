"""The order of repetitions, and how samples become figures and tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from statistics import quantiles
from typing import TypeVar

Arm = TypeVar("Arm")
Spread = dict[str, float]
"""``median``, ``q1`` and ``q3``."""


def order(arms: Sequence[Arm], repetition: int) -> Sequence[Arm]:
    """The arms in the order of this repetition.

    Every second repetition runs backwards, so that a slow change of the machine's speed affects all arms alike.
    """
    return arms if repetition % 2 == 0 else arms[::-1]


def in_turn(arms: Sequence[Arm], repeats: int, warmup: int) -> Iterator[tuple[Arm, bool]]:
    """Each arm once per repetition, in ``order``, and whether the repetition counts: the first ``warmup`` do not."""
    for repetition in range(warmup + repeats):
        for arm in order(arms, repetition):
            yield arm, repetition >= warmup


def spread(values: Sequence[float], digits: int = 4) -> Spread:
    """Median and quartiles of at least two values."""
    q1, median, q3 = (round(cut, digits) for cut in quantiles(values, n=4, method="inclusive"))
    return {"median": median, "q1": q1, "q3": q3}


def shown(figures: Mapping[str, float], digits: int = 3) -> str:
    """A spread for people: the median, and the quartiles in brackets."""
    median, q1, q3 = (f"{figures[name]:.{digits}f}" for name in ("median", "q1", "q3"))
    return f"{median} ({q1} to {q3})"


def verdict(met: object) -> str:
    """Whether a goal was met, for people."""
    return "met" if met else "missed"


def aligned(rows: Sequence[Sequence[str]], *, right: bool = True) -> list[str]:
    """The rows of a table, one line each; columns after the first are aligned to the right or to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [f"{cell:{'>' if right else '<'}{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([f"{first:<{widths[0]}}", *cells]).rstrip())
    return lines


def listed(record: Mapping[str, object]) -> str:
    """A record for people: one line for each key."""
    return "\n".join(aligned([(name, json.dumps(value)) for name, value in record.items()], right=False))

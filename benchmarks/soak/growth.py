"""Whether what was sampled grows."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import linear_regression, median
from typing import TypedDict

from benchmarks.soak.samples import Sample

SHARE = 0.2
"""Of the time after the warm-up, the first and the last share are compared."""
LEAST = 5
"""Samples that a share must have."""
QUANTITIES = ("memory", "threads", "descriptors", "disk")

BOUNDS = {"memory": 10e6, "threads": 4.0, "descriptors": 8.0}
"""The most by which the median of the last share may exceed that of the first; for the disk, see ``bounds``."""


class Growth(TypedDict):
    """Of one quantity of one process."""

    first: float
    """Median of the first share."""
    last: float
    """Median of the last share."""
    most: float
    per_hour: float
    """Slope of the straight line through all samples."""


def growth(samples: Sequence[Sample], quantity: str, warmup: float) -> Growth | None:
    """How a quantity develops, without the first ``warmup`` seconds; None where there are too few samples."""
    began = samples[0].at + warmup if samples else 0.0
    points = [(each.at - began, float(getattr(each, quantity))) for each in samples if each.at >= began]
    if not points:
        return None
    length = points[-1][0]
    first = [value for at, value in points if at <= SHARE * length]
    last = [value for at, value in points if at >= (1 - SHARE) * length]
    if min(len(first), len(last)) < LEAST:
        return None
    slope = linear_regression([at for at, _ in points], [value for _, value in points]).slope
    return Growth(
        first=median(first), last=median(last), most=max(value for _, value in points), per_hour=round(3600 * slope, 1)
    )


def bounds(model_bytes: int) -> dict[str, float]:
    """The bound of each quantity; the disk may hold one more checkpoint, that which is being written."""
    return {**BOUNDS, "disk": 2.0 * model_bytes}


def within(grown: Growth, bound: float) -> bool:
    """Whether a quantity stayed within its bound."""
    return grown["last"] - grown["first"] <= bound

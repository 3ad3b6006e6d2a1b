"""The memory, threads, descriptors and disk that a peer uses, and whether they grow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression, median

SHARE = 0.2
"""The first and the last share of the time after the warm-up are compared."""
LEAST = 5
"""The fewest samples that each of the two must have."""
QUANTITIES = ("memory", "threads", "descriptors", "disk")

Growth = dict[str, float]
"""``first`` and ``last``: medians of these shares; ``most``; ``per_hour``: slope of a straight line through all."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a peer uses at one time."""

    at: float
    """Seconds of ``time.monotonic``."""
    memory: float
    """Resident memory in bytes."""
    threads: float
    descriptors: float
    disk: float
    """Bytes in its MODEL_DIR."""


def sample(at: float, pid: int, directory: Path) -> Sample | None:
    """What a process and its MODEL_DIR use now; None if the process has ended."""
    process = Path(f"/proc/{pid}")
    try:
        pages = int((process / "statm").read_text().split()[1])
        threads = len(os.listdir(process / "task"))  # noqa: PTH208 - numbers, not paths
        descriptors = len(os.listdir(process / "fd"))  # noqa: PTH208
    except OSError:
        return None
    if not pages:  # killed, and its exit code not read yet
        return None
    return Sample(at=at, memory=pages * _PAGE, threads=threads, descriptors=descriptors, disk=size(directory))


def size(directory: Path) -> int:
    """Bytes of all files below ``directory``; 0 if it does not exist."""
    total = 0
    for path in directory.rglob("*"):
        with suppress(FileNotFoundError):  # replaced meanwhile
            if path.is_file():
                total += path.stat().st_size
    return total


def growth(samples: Sequence[Sample], quantity: str, warmup: float) -> Growth | None:
    """How a quantity develops after the first ``warmup`` seconds; None if there are too few samples."""
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
    most = max(value for _, value in points)
    return {"first": median(first), "last": median(last), "most": most, "per_hour": round(3600 * slope, 1)}


def within(grown: Growth, bound: float) -> bool:
    """Whether a quantity grew by at most ``bound``."""
    return grown["last"] - grown["first"] <= bound

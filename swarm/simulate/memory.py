"""How much memory processes need."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterable
from pathlib import Path

_MIB = 2**20
_PRIVATE = ("Private_Clean", "Private_Dirty")


def with_forked(forked: Iterable[int]) -> float | None:
    """The memory of this process and of those forked from it, in MiB: what they share with it counts once.

    None where the system does not tell.

    Args:
        forked: process identifiers; those that have ended count nothing.
    """
    here = _lines("self")
    if here is None:
        return None
    others = (_lines(process) or {} for process in forked)
    return (here["Rss"] + sum(lines.get(name, 0) for lines in others for name in _PRIVATE)) / _MIB


def own() -> float:
    """The most memory that this process has had, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MIB


def _lines(process: object) -> dict[str, int] | None:
    """Kinds of memory of a process in bytes; None if it has ended, or where the system does not tell."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return None
    rows = (line.split() for line in text.splitlines()[1:])
    return {name.rstrip(":"): int(amount) * 1024 for name, amount, *_ in rows}

"""Limits of what a peer sends, by the time of day."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

LEAST = 2.0
"""Mbit/s: others give a peer up whose weights come more slowly than that (see ``docs/rounds.md``)."""
MOST = 1e6
_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:@(\d\d):(\d\d)-(\d\d):(\d\d))?")
_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit, and between which times of the day it holds."""

    mbit: float
    """Megabits (10^6) per second."""
    begin: int = 0
    end: int = 0
    """Minutes since midnight; where both are equal, always. It may go past midnight."""

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Read ``20`` or ``20@07:00-19:00``.

        Raises:
            ValueError: it is none.
        """
        found = _RATE.fullmatch(text.strip())
        if found is None:
            raise ValueError
        mbit, times = float(found[1]), [int(each or 0) for each in found.groups()[1:]]
        begin, end = times[0] * 60 + times[1], times[2] * 60 + times[3]
        if not LEAST <= mbit <= MOST or max(begin, end) > _DAY or max(times[1], times[3]) > 59:
            raise ValueError
        if found[2] and begin % _DAY == end % _DAY:
            raise ValueError  # of no length; a limit that always holds is written without times
        return cls(mbit, begin, end)

    def part(self, number: int) -> Rate:
        """The limit of one of ``number`` senders that share it, rounded down.

        Raises:
            ValueError: that is less than others take.
        """
        mbit = math.floor(self.mbit * 1000 / number) / 1000
        if mbit < LEAST:
            raise ValueError
        return replace(self, mbit=mbit)

    def __str__(self) -> str:
        """As ``parse`` reads it."""
        times = f"@{_clock(self.begin)}-{_clock(self.end)}" if self.begin != self.end else ""
        return f"{self.mbit:.3f}".rstrip("0").rstrip(".") + times

    def holds(self, minute: int) -> bool:
        """Whether it holds at a minute of the day."""
        if self.begin == self.end:
            return True
        if self.begin < self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"

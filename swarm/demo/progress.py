"""How far a demo is, and how long it will still take."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from swarm.clock import Clock
from swarm.demo.processes import Job

MOST_OF_ONE = 0.95
"""A training that is not over counts as at most this part of itself, however long it takes."""
_TAIL = 4096
_ROUND = re.compile(rb"\bround (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a progress bar shows."""

    share: float
    """Of the whole work, 0..1."""
    doing: str
    """What runs now."""
    seconds_left: float | None = None
    """None before anything is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One training."""

    job: Job
    work: float
    """How long it takes, beside the others: in any unit."""
    rounds: int = 0
    """Rounds that its log will name; 0 if it names none."""


class Forecast:
    """Measures the trainings of a demo, and expects the others to be as fast."""

    def __init__(self, parts: list[Part], clock: Clock) -> None:
        """Nothing has begun."""
        self._parts = {part.job.name: part for part in parts}
        self._clock = clock
        self._began = clock.now()
        self._done: dict[str, float] = {}
        """Seconds of each training that is over."""

    def finished(self, name: str, seconds: float) -> None:
        """A training is over, after so many seconds."""
        self._done[name] = seconds

    def standing(self, running: Mapping[str, float]) -> Standing:
        """Where the demo stands; ``running``: seconds for which each training has been running."""
        total = sum(part.work for part in self._parts.values())
        done = sum(self._parts[name].work for name in self._done)
        doing = []
        for name, seconds in running.items():
            part = self._parts[name]
            reached = round_of(part.job) if part.rounds else None
            doing.append(f"{name}, round {reached} of {part.rounds}" if reached else name)
            done += part.work * self._share(part, seconds, reached)
        elapsed = self._clock.now() - self._began
        left = elapsed * (total - done) / done if self._done and done else None
        return Standing(share=done / total, doing=", ".join(doing), seconds_left=left)

    def _share(self, part: Part, seconds: float, reached: int | None) -> float:
        """The part of one training that is over."""
        if part.rounds:
            return min((reached or 0) / part.rounds, MOST_OF_ONE)
        usual = sum(self._done.values()) / sum(self._parts[name].work for name in self._done) if self._done else 0.0
        return min(seconds / (usual * part.work), MOST_OF_ONE) if usual else 0.0


def round_of(job: Job) -> int | None:
    """The last round that the log of a training names; None if there is none yet."""
    try:
        with job.log.open("rb") as log:
            log.seek(max(log.seek(0, os.SEEK_END) - _TAIL, 0))
            found = _ROUND.findall(log.read())
    except OSError:
        return None
    return max(map(int, found), default=None)

"""Where the time of a round goes, from the milestones that the peers note."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

CAPTURED, OFFERED, STARTED, READY, DECIDED, APPLIED = MILESTONES = (
    "captured",
    "offered",
    "started",
    "ready",
    "decided",
    "applied",
)
PHASES = {
    "capture": "weights copied out",
    "offer": "finite check, norm, offer sent",
    "form": "until all are in the attempt",
    "exchange": "until all hold the merged model and its digest",
    "decide": "until all know that it is decided",
    "apply": "weights copied in",
}
"""What ends at each milestone, in their order."""

Marks = Mapping[str, float]
"""Milestones of one peer's round, in seconds of ``time.monotonic``."""


def phases(began: float, peers: Sequence[Marks]) -> dict[str, float]:
    """Seconds of each phase of one round: from when the last peer was through the phase before.

    Who leads sends itself neither offer nor ready; the others' count.
    """
    seconds, since = {}, began
    for phase, milestone in zip(PHASES, MILESTONES, strict=True):
        reached = max((marks[milestone] for marks in peers if milestone in marks), default=since)
        seconds[phase] = max(reached - since, 0.0)
        since = max(reached, since)
    return seconds


def usual(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Median seconds of each phase."""
    return {phase: round(median(each[phase] for each in rounds), 4) for phase in PHASES}

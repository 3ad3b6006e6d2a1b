"""Sums over all rounds of a run, also over those that a long report leaves out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from swarm.records import Outcome
from swarm.report.content import Round, Site, Totals


@dataclass(slots=True)
class Sums:
    """What is added up from round to round."""

    _rounds: float = 0.0
    _stall: float = 0.0
    _waited: float | None = None
    _waited_for: dict[str, float] = field(default_factory=dict)
    _sent: int = 0
    _received: int = 0
    _merged: int = 0
    _skipped: int = 0
    _compared: int = 0
    _better: int = 0
    _worse: int = 0
    _steps: Counter[str] = field(default_factory=Counter)
    _contributed: Counter[str] = field(default_factory=Counter)
    _weight: dict[str, int] = field(default_factory=dict)
    _present: set[str] = field(default_factory=set)

    def add(self, entry: Round) -> None:
        """One more round."""
        self._rounds += entry.seconds
        self._stall += entry.stall
        if entry.waited is not None:
            self._waited = (self._waited or 0.0) + entry.waited
            for peer, seconds in entry.waited_for.items():
                self._waited_for[peer] = self._waited_for.get(peer, 0.0) + seconds
        self._sent += entry.bytes_sent
        self._received += entry.bytes_received
        self._skipped += entry.outcome == Outcome.SKIPPED
        self._merged += entry.outcome != Outcome.SKIPPED and bool(entry.weights)
        own, merged = (each.loss if each else None for each in (entry.own, entry.merged))
        if own is not None and merged is not None:
            self._compared += 1
            self._better += merged < own
            self._worse += merged > own
        self._present.update(entry.group)
        self._weight.update(entry.weights)
        self._contributed.update(entry.weights.keys())
        self._steps.update(entry.steps)

    def totals(self, seconds: float) -> Totals:
        """All of it, after a run of so many seconds."""
        return Totals(
            seconds=seconds,
            training=max(seconds - self._stall, 0.0),
            rounds=self._rounds,
            stall=self._stall,
            waited=self._waited,
            waited_for=dict(self._waited_for),
            bytes_sent=self._sent,
            bytes_received=self._received,
            merged=self._merged,
            skipped=self._skipped,
            compared=self._compared,
            better=self._better,
            worse=self._worse,
        )

    def sites(self) -> dict[str, Site]:
        """The part of each site in the rounds of this peer."""
        return {
            peer: Site(steps=self._steps[peer], weight=self._weight.get(peer), contributed=self._contributed[peer])
            for peer in self._present
        }

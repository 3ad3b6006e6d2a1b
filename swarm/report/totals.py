"""Sums over all rounds of a run, also over those that a long report leaves out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from swarm.records import Outcome
from swarm.report.content import Round, Site, Totals


@dataclass(slots=True)
class Sums:
    """What is added up from round to round."""

    _totals: Totals = field(default_factory=Totals)
    """Without the seconds of the run."""
    _steps: Counter[str] = field(default_factory=Counter)
    _contributed: Counter[str] = field(default_factory=Counter)
    _weight: dict[str, int] = field(default_factory=dict)
    _present: set[str] = field(default_factory=set)

    def add(self, entry: Round) -> None:
        """One more round."""
        before, skipped = self._totals, entry.outcome == Outcome.SKIPPED
        own, merged = (each.loss if each else None for each in (entry.own, entry.merged))
        compared = own is not None and merged is not None
        self._totals = replace(
            before,
            rounds=before.rounds + entry.seconds,
            stall=before.stall + entry.stall,
            waited=before.waited + entry.waited,
            waited_for=before.waited_for
            | {peer: before.waited_for.get(peer, 0.0) + seconds for peer, seconds in entry.waited_for.items()},
            bytes_sent=before.bytes_sent + entry.bytes_sent,
            bytes_received=before.bytes_received + entry.bytes_received,
            merged=before.merged + (not skipped and bool(entry.weights)),
            skipped=before.skipped + skipped,
            compared=before.compared + compared,
            better=before.better + (own is not None and merged is not None and merged < own),
            worse=before.worse + (own is not None and merged is not None and merged > own),
        )
        self._present.update(entry.group)
        self._weight.update(entry.weights)
        self._contributed.update(entry.weights.keys())
        self._steps.update(entry.steps)

    def totals(self, seconds: float) -> Totals:
        """All of it, after a run of so many seconds."""
        return replace(self._totals, seconds=seconds, training=max(seconds - self._totals.stall, 0.0))

    def sites(self) -> dict[str, Site]:
        """The part of each site in the rounds of this peer."""
        return {
            peer: Site(steps=self._steps[peer], weight=self._weight.get(peer), contributed=self._contributed[peer])
            for peer in self._present
        }

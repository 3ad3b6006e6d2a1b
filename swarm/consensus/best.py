"""Which committed model is the best one, by what the peers' validation gives: a pure function of records and offers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from swarm.limits import MAX_COUNT
from swarm.records import Best, Commit
from swarm.sync.typical import typical

Score = tuple[int, float]
"""The weight of a peer, as it counts, and what it tells of the last committed model."""


@dataclass(frozen=True, slots=True)
class Judge:
    """How the best model is found; the same at every peer of a session."""

    patience: int | None = None
    """Scored models in a row that are no better, after which training ends; None: it goes on."""
    highest: bool = False
    """Whether a higher score is better."""
    robust: bool = False
    """Whether one false score must not count for more than the others: then the weighted median counts."""

    def best(self, commit: Commit, scores: Sequence[Score]) -> Best | None:
        """The best model up to that of ``commit``, which is what ``scores`` are of.

        Scores that are not finite do not count. A model without any changes nothing, nor does one to which nobody has
        contributed. The best model is no better than itself. What peers tell is true or false: see
        ``docs/best-model.md``.
        """
        before = commit.best
        told = [(weight, score) for weight, score in scores if weight > 0]
        if not told or not commit.contributors:
            return before
        score = self._together([(weight, score) for weight, score in told if math.isfinite(score)])
        if score is not None and (before is None or self._improves(before, commit.digest, score)):
            return Best(commit.round, commit.digest, score, stop=before.stop if before else False)
        if before is None:
            return None
        since = min(before.since + 1, MAX_COUNT)
        ends = self.patience is not None and since >= self.patience
        return replace(before, since=since, stop=before.stop or ends)

    def _improves(self, before: Best, digest: str, score: float) -> bool:
        better = score > before.score if self.highest else score < before.score
        return better and digest != before.digest

    def _together(self, scores: Sequence[Score]) -> float | None:
        """One score for all peers, the same for any order of them; None if there is none that is finite."""
        if not scores:
            return None
        total = sum(weight for weight, _ in scores)
        try:
            # fsum rounds once, so the mean does not depend on the order of the peers
            score = typical(scores) if self.robust else math.fsum(score * (weight / total) for weight, score in scores)
        except OverflowError:
            return None
        return score if math.isfinite(score) else None

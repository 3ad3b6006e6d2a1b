"""Which committed model is the best one, by what the peers' validation gives: a pure function of records and offers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from swarm.limits import MAX_COUNT
from swarm.records import Best, Commit
from swarm.sync.typical import FEWEST, typical

Score = tuple[int, float]
"""The weight of a peer, as it counts, and what it tells of the last committed model."""


FAR = 3
"""A score counts as no further from the median of the scores than this many times their median distance from it."""
CLOSE = 0.1
"""Closer than this part of the median, scores are never limited: of few sites, two are often equal by chance."""


@dataclass(frozen=True, slots=True)
class Judge:
    """How the best model is found; the same at every peer of a session."""

    patience: int | None = None
    """Scored models in a row that are no better, after which training ends; None: it goes on."""
    highest: bool = False
    """Whether a higher score is better."""
    robust: bool = False
    """Whether the weighted median of the scores counts, in place of their mean within limits."""

    def best(self, commit: Commit, scores: Sequence[Score]) -> Best | None:
        """The best model up to that of ``commit``, which is what ``scores`` are of.

        Scores that are not finite do not count, nor do those of peers without weight. In the mean, one that is far from
        the others counts as less far. A model without any changes nothing, nor does one to which nobody has
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
        try:
            score = typical(scores) if self.robust else _mean(_limited(scores))
        except OverflowError:
            return None
        return score if math.isfinite(score) else None


def _mean(scores: Sequence[Score]) -> float:
    total = sum(weight for weight, _ in scores)
    # fsum rounds once, so the mean does not depend on the order of the peers
    return math.fsum(score * (weight / total) for weight, score in scores)


def _limited(scores: Sequence[Score]) -> Sequence[Score]:
    """The scores, where a single one is not further away than the others allow; of two nothing tells which is right."""
    if len(scores) < FEWEST:
        return scores
    middle = typical(scores)
    apart = typical([(weight, abs(score - middle)) for weight, score in scores])
    most = max(FAR * apart, CLOSE * abs(middle))
    return [(weight, min(max(score, middle - most), middle + most)) for weight, score in scores]

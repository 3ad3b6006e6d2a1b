"""How good the models are at the other sites, as far as these tell it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from swarm.records import Commit, ContributionStats, PeerId, Scores


class Across:
    """The scores of the sites that share theirs, from what they tell with their offers."""

    def __init__(self, *, shares: bool) -> None:
        """Nobody has told anything; ``shares`` tells whether this site shares its own, as only such a site looks."""
        self.sites: dict[PeerId, Scores] = {}
        """By name. What other sites tell is not checked."""
        self._shares = shares

    def add(self, commit: Commit, offered: Sequence[ContributionStats]) -> None:
        """A round is committed, to which ``offered`` was told: each score is of the model before it."""
        best, closing = commit.best, commit.closing and not commit.contributors
        for stats in offered if self._shares else ():
            own, before, former = map(_finite, (stats.own_score, stats.score, stats.best_score))
            if own is None and former is None:
                continue  # it tells what the swarm compares, and shares nothing
            newest = best is not None and best.round == commit.round - 1
            self.sites[stats.peer] = Scores(
                own=own, closing=before if closing else None, best=before if newest else former
            )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None

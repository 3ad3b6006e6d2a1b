"""Validation of models on this peer's data, and what the other peers are told of it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from swarm.config.monitor import LOSS, monitored
from swarm.errors import ConfigurationError
from swarm.limits import figure

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.records import Commit, ContributionStats
    from swarm.tensors.model import Evaluation, Evaluator


class Validation:
    """Evaluates the model as it stands: the merged one, and this peer's own one before a merge.

    An error of the user's code is logged and does not stop the training.
    """

    def __init__(self, settings: Settings, evaluate: Evaluator | None, logger: logging.Logger) -> None:
        """Nothing is evaluated yet.

        Args:
            settings: of this peer.
            evaluate: evaluates the model; None if there is nothing to validate it with.
            logger: where errors are reported.
        """
        self.possible = evaluate is not None
        """Whether there is anything to validate with."""
        self.merged: Evaluation | None = None
        """Of the last merged model; None if it could not be validated."""
        self.own: Evaluation | None = None
        """Of this peer's own model just before the sync point; None where it was not validated."""
        used = settings.model_dir is not None or settings.share_metrics
        self.wants_own = self.possible and settings.validate_own and used
        """Whether the own model is to be validated before each merge."""
        self._evaluate = evaluate
        self._log = logger
        self._failed = False
        self._metric = monitored(settings.monitor).name
        self._tells = settings.judges or settings.share_metrics
        self._shares = settings.share_metrics
        self._scores: dict[str, float] = {}
        """What the validation gave of the last merged model and of the best one, by digest."""
        self._own_score: float | None = None

    def validate_merged(self, digest: str) -> None:
        """Evaluate the merged model, which the model holds; ``digest`` is that of its round."""
        self.merged = self._evaluated("the merged model")
        score = self._score(self.merged)
        if score is not None:
            self._scores[digest] = score

    def validate_own(self) -> None:
        """Evaluate this peer's own model, before it is merged."""
        self.own = self._evaluated("this site's own model")
        self._own_score = self._score(self.own)

    def merged_own(self) -> None:
        """The sync point before which the own model was evaluated is over."""
        self.own = None

    def require_monitored(self) -> None:
        """Refuse a validation that does not give what the swarm compares.

        Raises:
            ConfigurationError: it gives other metrics only.
        """
        if self._tells and self.merged and self._score(self.merged) is None:
            given = ", ".join([LOSS, *sorted(self.merged.metrics)])
            raise ConfigurationError(
                f"monitor names {self._metric!r}, which the validation of this site does not give: it gives {given}"
            )

    def told(self, stats: ContributionStats, commit: Commit | None) -> ContributionStats:
        """``stats`` with what this peer tells of the model of ``commit``, of its own one and of the best one."""
        if commit is None or not self._tells:
            return stats
        best = commit.best.digest if commit.best else ""
        self._scores = {digest: score for digest, score in self._scores.items() if digest in (commit.digest, best)}
        stats = replace(stats, score=self._scores.get(commit.digest))
        if not self._shares:
            return stats
        return replace(stats, own_score=self._own_score, best_score=self._scores.get(best))

    def _score(self, evaluation: Evaluation | None) -> float | None:
        """The number that the swarm compares; None if it is not there."""
        if evaluation is None:
            return None
        found = evaluation.loss if self._metric == LOSS else evaluation.metrics.get(self._metric)
        return None if found is None else figure(found)

    def _evaluated(self, what: str) -> Evaluation | None:
        if self._evaluate is None:
            return None
        try:
            return self._evaluate()
        except Exception as error:  # noqa: BLE001  (the user's code)
            level = logging.DEBUG if self._failed else logging.WARNING
            self._failed = True
            text = "validation of %s failed, training goes on: %s: %s"
            self._log.log(level, text, what, type(error).__name__, error, exc_info=error)
            return None

"""The picture of a demo: accuracy by round."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarm.demo.outcome import Outcome, Training

_ALONE, _SWARM, _POOLED = "#9aa0a6", "#0b6e4f", "#c8553d"


def draw(outcome: Outcome) -> None:
    """Save the test accuracy of all trainings during training as ``outcome.picture``, a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for number, (site, training) in enumerate(zip(outcome.sites, outcome.alone, strict=True)):
        rounds, accuracies = _points(training, outcome.sync_interval)
        axes.plot(rounds, accuracies, color=_ALONE, linewidth=1, label=None if number else "alone")
        axes.annotate(site, (rounds[-1], accuracies[-1]), (4, 0), textcoords="offset points", fontsize=7, color=_ALONE)
    axes.plot(*_points(outcome.pooled, outcome.sync_interval), color=_POOLED, linestyle="--", label="all data pooled")
    axes.plot(*_points(outcome.swarm[0], outcome.sync_interval), color=_SWARM, linewidth=2, label="in the swarm")
    axes.set_xlabel(f"round (every {outcome.sync_interval} batches)")
    axes.set_ylabel("accuracy on the common test set")
    axes.set_title(f"{outcome.task}: {len(outcome.sites)} peers, {outcome.framework}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(outcome.picture)


def _points(training: Training, sync_interval: int) -> tuple[list[float], list[float]]:
    curve = training.curve or ((sync_interval, training.accuracy),)
    return [step / sync_interval for step, _ in curve], [accuracy for _, accuracy in curve]

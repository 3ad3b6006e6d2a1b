"""Shows the results of a demo: a table and a sentence on a terminal, and a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from swarm.demo.outcome import Outcome, Training
from swarm.demo.tasks import Task

if TYPE_CHECKING:
    from rich.console import Console

_ALONE, _SWARM, _POOLED = "#9aa0a6", "#0b6e4f", "#c8553d"


def show(outcome: Outcome, task: Task, console: Console) -> None:
    """Print a table with a row for each peer, a sentence on the gain, and the paths of picture and model."""
    console.print(_table(outcome, task))
    console.print(gain(outcome, task))
    console.print(f"Picture: {outcome.picture}\nMerged model: {outcome.model}\n", soft_wrap=True, highlight=False)


def gain(outcome: Outcome, task: Task) -> str:
    """One sentence on what the swarm gained."""
    points = 100 * (outcome.mean_swarm - outcome.mean_alone)
    change = f"{abs(points):.1f} points {'more' if points >= 0 else 'less'}"
    same = "the same model, bit for bit" if outcome.weights_identical else "models that differ"
    return (
        f"After {outcome.rounds} rounds the {len(outcome.sites)} {task.site}s hold {same}: it gets "
        f"{_percent(outcome.mean_swarm)} of the test {task.samples} right, {change} than they do alone on average and "
        f"{_percent(outcome.mean_swarm / outcome.pooled.accuracy)} of what pooling all data would reach, and no "
        f"{task.site}'s data left it."
    )


def _table(outcome: Outcome, task: Task) -> Table:
    table = Table(title=f"{task.name}: accuracy on the common test set ({outcome.framework}, {outcome.seconds:.0f} s)")
    table.add_column(task.site)
    for heading in (task.samples, "alone", "in the swarm", "all data pooled"):
        table.add_column(heading, justify="right")
    pooled = _percent(outcome.pooled.accuracy)
    for site, samples, alone, swarm in zip(outcome.sites, outcome.samples, outcome.alone, outcome.swarm, strict=True):
        table.add_row(site, str(samples), _percent(alone.accuracy), _percent(swarm.accuracy), pooled)
    table.add_section()
    table.add_row("mean", str(sum(outcome.samples)), _percent(outcome.mean_alone), _percent(outcome.mean_swarm), pooled)
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


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

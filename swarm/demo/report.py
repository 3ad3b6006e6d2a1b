"""Says on a terminal what a demo measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from swarm.demo.outcome import Outcome
    from swarm.demo.tasks import Task


def show(outcome: Outcome, task: Task, console: Console) -> None:
    """Print the table per peer, one sentence on what was gained, and where picture and model are."""
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

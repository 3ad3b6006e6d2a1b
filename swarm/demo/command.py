"""``swarm demo``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from swarm.cli.options import Json
from swarm.clock import duration
from swarm.demo.experiment import Experiment
from swarm.demo.progress import Standing
from swarm.demo.report import show
from swarm.demo.tasks import FRAMEWORKS, TASKS, Task
from swarm.errors import ConfigurationError

_COLUMNS = (
    TextColumn("{task.description}", markup=False),
    BarColumn(20),
    TaskProgressColumn(),
    TextColumn("{task.fields[doing]}", markup=False),
    TextColumn("{task.fields[left]}", style="bold"),
)


def demo(
    task: Annotated[str | None, typer.Argument(help=f"{' or '.join(TASKS)}; both if not given.")] = None,
    *,
    framework: Annotated[str, typer.Option(help=f"One of {', '.join(FRAMEWORKS)}.")] = "torch",
    peers: Annotated[int | None, typer.Option(help="Peers of the swarm; 4 if not given.")] = None,
    sync_interval: Annotated[
        int | None, typer.Option(help="Batches between merges; if not given, that of the task.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Decides the test set, the division among peers and the initial weights.")
    ] = 0,
    output: Annotated[Path, typer.Option(help="Directory for data, trainings, picture and model.")] = Path(
        "swarm-demo"
    ),
    json_output: Json = False,
) -> None:
    """Train the same model alone, in a swarm, and on all data pooled, and compare the results.

    [bold]heart[/]: patients of four real hospitals, which never share them. [bold]mnist[/]: handwritten digits,
    unevenly divided.
    """
    chosen = list(TASKS.values()) if task is None else [_named(task)]
    experiments = [
        Experiment(
            task=one,
            framework=framework,
            peers=one.peers if peers is None else peers,
            sync_interval=one.sync_interval if sync_interval is None else sync_interval,
            seed=seed,
            directory=output.absolute() / f"{one.name}-{framework}-seed{seed}",
        )
        for one in chosen
    ]
    for experiment in experiments:
        experiment.task.check(framework, experiment.peers, experiment.sync_interval)
    for experiment in experiments:
        _show(experiment, json_output=json_output)


def _show(experiment: Experiment, *, json_output: bool) -> None:
    console = Console()
    progress = Console(stderr=True) if json_output else console
    name, terminal = experiment.task.name, progress.is_terminal and not progress.is_dumb_terminal

    def report(line: str) -> None:
        progress.print(f"{name}: {line}", highlight=False, markup=False)

    with Progress(*_COLUMNS, console=progress, transient=True, auto_refresh=False, disable=not terminal) as bar:
        task = bar.add_task(name, total=1.0, doing="starts", left="")

        def watch(standing: Standing) -> None:
            left = "" if standing.seconds_left is None else f"about {duration(standing.seconds_left)} left"
            bar.update(task, completed=standing.share, doing=standing.doing, left=left, refresh=True)

        outcome = experiment.run(report, watch)
    if json_output:
        typer.echo(json.dumps(outcome.record()))
    else:
        show(outcome, experiment.task, console)


def _named(name: str) -> Task:
    if name not in TASKS:
        raise ConfigurationError(f"there is no demo {name!r}: choose {' or '.join(TASKS)}")
    return TASKS[name]

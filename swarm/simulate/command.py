"""``swarm simulate``."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from swarm.cli.options import Json, of_setting
from swarm.cli.table import console
from swarm.errors import ConfigurationError
from swarm.simulate import cluster, local, report
from swarm.simulate.choices import TRIED, combinations, label, option, require_peers
from swarm.simulate.directory import PICTURE, RESULTS, of_run, taken
from swarm.simulate.names import PARTITION, TASKS, Task
from swarm.simulate.outcome import Outcome, named, recommended
from swarm.simulate.plan import Plan

MOST_PEERS = 64
_PANEL = "Settings to try, each with one value or several (8,32,128)"


def simulate(
    program: Annotated[str, typer.Argument(metavar="SCRIPT|TASK", help=f"A Python script, or {' or '.join(TASKS)}.")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[-- ARGUMENTS]", help="Of the script.")] = None,
    *,
    peers: Annotated[int, typer.Option("-n", "--peers", min=2, max=MOST_PEERS, help="How many peers train.")] = 4,
    repeats: Annotated[int, typer.Option(min=1, help="How often each choice is trained.")] = 1,
    metric: Annotated[
        str | None,
        typer.Option(
            help="The figure to compare: a validation metric of the callback, or a name that the script prints before "
            "a number. If not given: the validation metric, else its loss, else a printed accuracy or loss."
        ),
    ] = None,
    within: Annotated[float, typer.Option(min=0.0, help="Differences of the figure up to this do not count.")] = 0.01,
    toml: Annotated[
        Path | None, typer.Option("-o", "--toml", help="Write the recommended settings to this new file.")
    ] = None,
    directory: Annotated[Path, typer.Option(help="For logs, models, picture and results.")] = Path("swarm-simulate"),
    data_dir: Annotated[
        Path | None, typer.Option(help="DATA_DIR of a script: a peer gets peer-<rank> inside it if every peer has one.")
    ] = None,
    partition: Annotated[
        str | None,
        typer.Option(help=f"How a task divides its data: iid, dirA, shardK or quantity. By default {PARTITION}."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Batches of each peer of a task.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of a task; each repeat has the next one. By default 0.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1.0, help="Seconds after which a run counts as failed.")] = 3600.0,
    ray: Annotated[bool, typer.Option("--ray", help="Train the choices on a Ray cluster, several at once.")] = False,
    json_output: Json = False,
    **tried: list[str] | None,
) -> None:
    """Train with many peers on this machine, under each choice of settings, before sites are asked to.

    [bold]swarm simulate train.py -n 16 --sync-interval 8,32 --codec exact,int8[/]

    [bold]swarm simulate digits -n 64 --merge-method mean,geomedian -o swarm.toml[/]

    The settings given here beat those of the script. The peers of a script
    are processes on this machine, those of a task threads of one process.
    Arguments of the script come last, after --.
    """
    task = TASKS.get(program)
    if task:
        _check_task(program, task, partition, {"arguments": arguments, "--data-dir": data_dir})
    else:
        _check_script(program, data_dir, {"--partition": partition, "--steps": steps, "--seed": seed})
    _check_places(toml, directory)
    if ray:
        cluster.require()
    choices = combinations({name: texts for name, texts in tried.items() if texts})
    require_peers(choices, peers)
    plans = [
        Plan(
            program=program if task else str(Path(program).absolute()),
            is_task=task is not None,
            peers=peers,
            choice=choice,
            directory=str(of_run(directory, number, repeat)),
            arguments=tuple(arguments or ()),
            data_dir=str(data_dir.absolute()) if data_dir else None,
            partition=partition or PARTITION,
            steps=steps or (task.steps if task else 0),
            seed=(seed or 0) + repeat,
        )
        for number, choice in enumerate(choices)
        for repeat in range(repeats)
    ]
    outcomes = [Outcome(choice) for choice in choices]
    train = _train_on_ray if ray else _train_here
    with taken(directory):
        train(plans, outcomes, repeats, timeout, metric)
        title = f"{Path(program).name}: {peers} peers"
        _show(outcomes, within, directory, title, toml, metric, json_output=json_output)


def _check_task(name: str, task: Task, partition: str | None, of_scripts: Mapping[str, object]) -> None:
    if given := [option for option, value in of_scripts.items() if value]:
        raise ConfigurationError(f"{name} is a built-in task: it takes no {' and no '.join(given)}")
    task.require(name)
    if partition is not None:
        from swarm.demo import partitions  # needs numpy

        partitions.require(partition)


def _check_script(program: str, data_dir: Path | None, of_tasks: Mapping[str, object]) -> None:
    if not Path(program).is_file():
        raise ConfigurationError(
            f"{program} is neither a script nor a built-in task: name a Python file, or {' or '.join(TASKS)}"
        )
    if given := [option for option, value in of_tasks.items() if value is not None]:
        raise ConfigurationError(
            f"{', '.join(given)} is for the built-in tasks, and {program} is a script: give it arguments of its own "
            "after --"
        )
    if data_dir and not data_dir.is_dir():
        raise ConfigurationError(f"--data-dir {data_dir} is not a directory: name the one with the data")


def _check_places(toml: Path | None, directory: Path) -> None:
    if toml and toml.exists():
        raise ConfigurationError(f"-o {toml} is there already: name a new file, or remove it")
    if toml and not toml.parent.is_dir():
        raise ConfigurationError(f"-o {toml} is in no directory that is there: make {toml.parent} first")
    if directory.exists() and not directory.is_dir():
        raise ConfigurationError(f"--directory {directory} is a file: name a directory, or a new one")


def _train_here(
    plans: Sequence[Plan], outcomes: Sequence[Outcome], repeats: int, timeout: float, metric: str | None
) -> None:
    with local.ended_by_signals(), _progress() as progress:
        bar = progress.add_task("", total=len(plans))
        for number, plan in enumerate(plans):
            name = label(plan.choice)
            progress.update(bar, description=name)

            def finished(reached: int, name: str = name) -> None:
                progress.update(bar, description=f"{name}: round {reached}")

            run = local.run(plan, timeout=timeout, metric=metric, finished=finished)
            outcomes[number // repeats].runs.append(run)
            progress.advance(bar)


def _train_on_ray(
    plans: Sequence[Plan], outcomes: Sequence[Outcome], repeats: int, timeout: float, metric: str | None
) -> None:
    with _progress() as progress:
        bar = progress.add_task("on the cluster", total=len(plans))
        for number, run in cluster.run_all(plans, timeout=timeout, metric=metric):
            outcomes[number // repeats].runs.append(run)
            progress.advance(bar)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))


def _show(
    outcomes: Sequence[Outcome],
    within: float,
    directory: Path,
    title: str,
    toml: Path | None,
    metric: str | None,
    *,
    json_output: bool,
) -> None:
    failures = [line for outcome in outcomes for line in named(outcome)]
    chosen = recommended(outcomes, within)
    text = report.toml(chosen.choice, report.reason(outcomes, chosen, within)) if chosen else ""
    record = {"choices": [outcome.record() for outcome in outcomes], "recommended": text or None}
    (directory / RESULTS).write_text(json.dumps(record, indent=1), encoding="utf-8")
    picture = directory / PICTURE
    if report.can_draw() and chosen:
        report.draw(outcomes, chosen, title, picture)
    if toml and text:
        toml.write_text(text, encoding="utf-8")
    if json_output:
        typer.echo(json.dumps(record))
    else:
        screen = console()
        screen.print(report.table(outcomes, chosen))
        for line in failures:
            screen.print(f"failed: {line}", soft_wrap=True, markup=False)
        _advise(screen, text, picture if picture.exists() else None, toml, metric)
    if failures or not chosen:
        raise typer.Exit(1)


def _advise(screen: Console, text: str, picture: Path | None, toml: Path | None, metric: str | None) -> None:
    if not text:
        lacking = f"the figure {metric!r} (--metric)" if metric else "a figure to compare (--metric names one)"
        screen.print(f"nothing is recommended: no choice ended well with {lacking}", soft_wrap=True, markup=False)
        return
    where = f" (in {toml})" if toml else ""
    screen.print(f"\nRecommended{where}:\n\n{text}", markup=False, soft_wrap=True)
    screen.print(f"Picture: {picture}" if picture else "No picture: pip install 'swarm-learning[simulation]'")


def _signature(command: Callable[..., Any]) -> inspect.Signature:
    """The parameters of the command, and an option for each setting that can be tried."""
    own = [each for each in inspect.signature(command, eval_str=True).parameters.values() if each.name != "tried"]
    options = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[list[str] | None, _option(name)],
        )
        for name in TRIED
    ]
    return inspect.Signature([*own, *options])


def _option(name: str) -> Any:
    found = of_setting(name, option(name), metavar="VALUES")
    found.rich_help_panel = _PANEL
    return found


_described = _signature(simulate)
simulate.__signature__ = _described  # type: ignore[attr-defined]
simulate.__annotations__ = {each.name: each.annotation for each in _described.parameters.values()}

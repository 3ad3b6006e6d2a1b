"""``swarm demo``: which trainings it starts, and what it prints."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from swarm.cli.app import app
from swarm.demo.experiment import Experiment
from swarm.demo.outcome import Outcome
from swarm.demo.progress import Standing
from swarm.demo.tasks import HEART, MNIST

Demo = Callable[..., Result]


@pytest.fixture
def started() -> list[Experiment]:
    return []


@pytest.fixture
def demo(outcome: Outcome, started: list[Experiment], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Demo:
    """Runs the command, with a result in place of the trainings."""

    def run(experiment: Experiment, report: Callable[[str], None], watch: Callable[[Standing], None]) -> Outcome:
        started.append(experiment)
        watch(Standing(share=0.25, doing="alone-0", seconds_left=61.0))
        report("trained [bold]alone[/]")
        return outcome

    monkeypatch.setattr(Experiment, "run", run)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(app, ["demo", *words])

    return invoke


def test_both_tasks_run_in_turn_as_they_are(demo: Demo, started: Sequence[Experiment], tmp_path: Path) -> None:
    assert demo().exit_code == 0
    defaults = {"framework": "torch", "peers": 4, "seed": 0}
    assert started == [
        Experiment(task=HEART, sync_interval=10, directory=tmp_path / "swarm-demo/heart-torch-seed0", **defaults),
        Experiment(task=MNIST, sync_interval=8, directory=tmp_path / "swarm-demo/mnist-torch-seed0", **defaults),
    ]


def test_options_replace_what_a_task_has(demo: Demo, started: Sequence[Experiment], tmp_path: Path) -> None:
    options = ["--framework", "lightning", "--peers", "3", "--sync-interval", "5", "--seed", "7", "--output", "there"]
    assert demo("mnist", *options).exit_code == 0
    directory = tmp_path / "there/mnist-lightning-seed7"
    assert started == [
        Experiment(task=MNIST, framework="lightning", peers=3, sync_interval=5, seed=7, directory=directory)
    ]


def test_nothing_starts_if_an_option_does_not_fit_every_task(demo: Demo, started: Sequence[Experiment]) -> None:
    ended = demo("--sync-interval", "0")
    assert ended.exit_code == 2
    assert "--sync-interval 0" in ended.stderr
    assert "--peers 3: the heart demo has exactly 4" in demo("--peers", "3").stderr
    assert demo("mnist", "--seed", "-1").exit_code == 2
    assert started == []


def test_an_unknown_task_is_refused(demo: Demo, started: Sequence[Experiment]) -> None:
    ended = demo("hart")
    assert ended.exit_code == 2
    assert "there is no demo 'hart': choose heart or mnist" in ended.stderr
    assert started == []


def test_progress_and_result_are_shown_as_text(demo: Demo) -> None:
    ended = demo("heart")
    first, *others = ended.stdout.splitlines()
    assert first == "heart: trained [bold]alone[/]"
    assert any("Cleveland" in line for line in others)
    assert ended.stderr == ""


def test_json_is_one_line_for_each_task_and_progress_goes_elsewhere(demo: Demo, outcome: Outcome) -> None:
    ended = demo("--json")
    assert [json.loads(line) for line in ended.stdout.splitlines()] == [outcome.record()] * 2
    assert "heart: trained [bold]alone[/]" in ended.stderr
    assert "mnist: trained [bold]alone[/]" in ended.stderr


def test_a_terminal_shows_how_far_it_is_and_how_long_it_will_take(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "alone-0 about" not in demo("heart").stdout
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", demo("heart").stdout)
    assert re.search(r"heart ━+╺━+ +25% alone-0 about 1:01 left", shown)

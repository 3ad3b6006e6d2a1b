"""The command ``swarm simulate``, with runs in place of the trainings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from swarm.cli.app import app
from swarm.config import resolve
from swarm.config.trial import stop, try_out
from swarm.simulate import local
from swarm.simulate.choices import TRIED
from swarm.simulate.directory import taken
from swarm.simulate.outcome import Run
from swarm.simulate.plan import PeerEnd, Plan

Simulate = Callable[..., Result]


@pytest.fixture
def plans() -> list[Plan]:
    return []


@pytest.fixture
def simulate(plans: list[Plan], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Simulate:
    def run(plan: Plan, **_: object) -> Run:
        plans.append(plan)
        Path(plan.directory).mkdir(parents=True)
        interval = plan.choice.get("sync_interval", 128)
        failure = "ValueError: broken (train.py, line 3)" if interval == 13 else ""
        ends = [
            PeerEnd(rank=rank, metrics={"swarm_bytes_sent": 1e6 / interval, "swarm_rounds": 9.0}, failure=failure)
            for rank in range(plan.peers)
        ]
        qualities = {} if failure else {end.rank: ("accuracy", 1 - interval / 1000) for end in ends}
        return Run(ends=ends, qualities=qualities, seconds=1.5, mebibytes=100.0)

    monkeypatch.setattr(local, "run", run)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    Path("train.py").write_text("", encoding="utf-8")
    return lambda *words: CliRunner().invoke(app, ["simulate", *words])


def test_each_choice_is_trained_as_often_as_asked(simulate, plans, tmp_path):
    found = simulate("train.py", "-n", "16", "--sync-interval", "8,32", "--repeats", "2", "--", "--epochs", "3")
    assert found.exit_code == 0, found.output
    assert [plan.choice for plan in plans] == [{"sync_interval": 8}] * 2 + [{"sync_interval": 32}] * 2
    assert {plan.peers for plan in plans} == {16}
    assert {plan.program for plan in plans} == {str(tmp_path / "train.py")}
    assert {plan.arguments for plan in plans} == {("--epochs", "3")}
    assert [plan.seed for plan in plans] == [0, 1, 0, 1]
    assert len({plan.directory for plan in plans}) == 4


def test_the_table_and_the_recommended_file_are_shown_and_written(simulate):
    found = simulate("digits", "--sync-interval", "8,16,128", "-o", "swarm.toml")
    assert found.exit_code == 0, found.output
    assert "0.992" in found.output
    assert "sync_interval = 16" in found.output
    assert resolve({"loopback": True}, environment={}, directory=Path()).settings.sync_interval == 16
    record = json.loads(Path("swarm-simulate/results.json").read_text(encoding="utf-8"))
    assert [each["choice"]["sync_interval"] for each in record["choices"]] == [8, 16, 128]
    assert Path("swarm-simulate/choices.png").read_bytes().startswith(b"\x89PNG")


def test_a_failed_peer_is_named_with_its_choice_and_the_others_still_count(simulate):
    found = simulate("digits", "-n", "2", "--sync-interval", "13,32")
    assert found.exit_code == 1
    assert "failed: sync_interval=13: peer-0, peer-1: ValueError: broken (train.py, line 3)" in found.output
    assert "sync_interval = 32" in found.output


def test_json_is_one_document(simulate):
    record = json.loads(simulate("digits", "--sync-interval", "8", "--json").stdout)
    assert record["choices"][0]["bytes_per_peer"] == 125000
    assert "sync_interval = 8" in record["recommended"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("no.py",), "no.py is neither a script nor a built-in task"),
        (("digits", "--", "--epochs"), "digits is a built-in task"),
        (("digits", "--data-dir", "."), "digits is a built-in task"),
        (("train.py", "--data-dir", "none"), "--data-dir none is not a directory"),
        (("digits", "-o", "train.py"), "-o train.py is there already"),
        (("digits", "-o", "none/swarm.toml"), "make none first"),
        (("digits", "--directory", "train.py"), "--directory train.py is a file"),
        (("digits", "--sync-interval", "0"), "--sync-interval '0' is not allowed"),
        (("digits", "--merge-method", "mean,nnm", "-n", "3"), "--merge-method nnm needs 4 or more peers"),
        (("train.py", "--merge-method", "norm_clip", "-n", "2"), "--merge-method norm_clip needs 3 or more peers"),
        (("digits", "--partition", "foo"), "there is no partition 'foo'"),
        (("train.py", "--partition", "iid", "--steps", "4"), "--partition, --steps is for the built-in tasks"),
        (("train.py", "--seed", "0"), "--seed is for the built-in tasks"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(simulate, plans, words, message):
    found = simulate(*words)
    assert found.exit_code == 2
    assert message in found.output
    assert plans == []


def test_a_command_begins_without_the_runs_of_an_earlier_one(simulate):
    assert simulate("digits", "--sync-interval", "8,16,32", "--repeats", "2").exit_code == 0
    left = Path("swarm-simulate/choice-0/run-0/peer-3/swarm-final.safetensors")
    left.parent.mkdir()
    left.touch()
    mine = [Path("swarm-simulate/choice-2/notes.txt"), Path("swarm-simulate/choice-x/run-0/kept.txt")]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert simulate("digits", "--sync-interval", "13").exit_code == 1
    found = {str(path.relative_to("swarm-simulate")) for path in Path("swarm-simulate").rglob("*") if path.is_dir()}
    assert found == {"choice-0", "choice-0/run-0", "choice-2", "choice-x", "choice-x/run-0"}
    assert all(path.exists() for path in mine)
    assert not Path("swarm-simulate/choices.png").exists()  # of the earlier one


def test_a_directory_that_another_command_uses_is_left_to_it(simulate, plans):
    assert simulate("digits").exit_code == 0
    with taken(Path("swarm-simulate")):
        Path("swarm-simulate/choice-0/run-0").mkdir(parents=True)
        found = simulate("digits")
        assert found.exit_code == 2
        assert "--directory swarm-simulate is in use by another swarm simulate" in found.output
        assert Path("swarm-simulate/choice-0/run-0").exists()
    assert simulate("digits").exit_code == 0
    assert len(plans) == 2


def test_a_directory_that_cannot_be_made_is_named(simulate, plans):
    found = simulate("digits", "--directory", "train.py/out")
    assert found.exit_code == 2
    assert "--directory train.py/out cannot be written (Not a directory)" in found.output
    assert plans == []


def test_each_setting_that_can_be_tried_has_an_option(simulate, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    shown = simulate("--help").output
    assert all(f"--{name.replace('_', '-')}" in shown for name in TRIED)


def test_without_ray_the_option_says_what_to_install(simulate, monkeypatch):
    monkeypatch.setattr("swarm.simulate.cluster.find_spec", lambda _name: None)
    found = simulate("digits", "--ray")
    assert found.exit_code == 2
    assert "pip install 'swarm-learning[simulation]'" in found.output


def test_results_stay_where_ray_is_missing(simulate, monkeypatch):
    assert simulate("digits").exit_code == 0
    monkeypatch.setattr("swarm.simulate.cluster.find_spec", lambda _name: None)
    assert simulate("digits", "--ray").exit_code == 2
    assert Path("swarm-simulate/results.json").exists()


def test_a_figure_that_no_peer_has_is_named(simulate, monkeypatch):
    run = Run(ends=[PeerEnd(rank=0, metrics={"swarm_rounds": 9.0})], qualities={}, seconds=1.0, mebibytes=None)
    monkeypatch.setattr(local, "run", lambda *_, **__: run)
    found = simulate("train.py", "--metric", "auc")
    assert found.exit_code == 1
    assert "no choice ended well with the figure 'auc' (--metric)" in found.output


def test_a_package_that_a_task_needs_is_named_before_anything_is_trained(simulate, plans, monkeypatch):
    monkeypatch.setattr("swarm.simulate.names.find_spec", lambda name: None if name == "sklearn" else object())
    found = simulate("digits")
    assert found.exit_code == 2
    assert "the task digits needs sklearn: pip install 'swarm-learning[torch,demo]'" in found.output
    assert plans == []


def test_a_setting_that_is_tried_beats_the_argument_of_a_script():
    arguments = {"sync_interval": 128, "loopback": True}
    try:
        try_out({"sync_interval": 8})
        assert resolve(arguments, environment={"SWARM_SYNC_INTERVAL": "9"}).settings.sync_interval == 8
    finally:
        stop()
    assert resolve(arguments, environment={}).settings.sync_interval == 128

"""``swarm report``: reports of a directory, as tables and as JSON."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from swarm.cli.app import app
from tests.report.conftest import Run

runner = CliRunner()


def write(place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    run = Run(place, validates=True)
    run.start()
    run.round(1, 0.9, 0.7, waited=1.0, waited_for=("berlin",))
    run.close()


def test_the_reports_of_all_peers_of_a_directory_are_shown(tmp_path: Path) -> None:
    for name in ("peer-0", "peer-1"):
        write(tmp_path / name)
    found = runner.invoke(app, ["report", str(tmp_path)])
    assert found.exit_code == 0, found.output
    assert found.output.count("On this site's validation data the swarm's closing model has loss 0.7") == 2
    assert found.output.count("own, before the last merge") == 2
    assert "waiting for other sites, the longest for berlin" in " ".join(found.output.split())
    assert str(tmp_path / "peer-1" / "swarm-report.html") in found.output


def test_json_is_one_list_of_reports(tmp_path: Path) -> None:
    write(tmp_path)
    found = runner.invoke(app, ["report", str(tmp_path), "--json"])
    assert found.exit_code == 0
    (only,) = json.loads(found.output)
    assert only == json.loads((tmp_path / "swarm-report.json").read_text())


@pytest.mark.parametrize("argument", [lambda place: str(place / "swarm-report.json"), str])
def test_a_file_and_its_directory_show_the_same(tmp_path: Path, argument: Callable[[Path], str]) -> None:
    write(tmp_path)
    found = runner.invoke(app, ["report", argument(tmp_path)])
    assert found.exit_code == 0
    assert "paris in heart" in found.output


def test_without_a_place_the_model_directory_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "m")
    monkeypatch.setenv("SWARM_MODEL_DIR", str(tmp_path / "m"))
    monkeypatch.chdir(tmp_path)
    assert "paris in heart" in runner.invoke(app, ["report"]).output


def test_a_directory_without_reports_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    found = runner.invoke(app, ["report", str(tmp_path)])
    assert found.exit_code == 2
    assert "there is no swarm-report.json in" in found.output


def test_no_place_at_all_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("MODEL_DIR", "SWARM_MODEL_DIR"):
        monkeypatch.delenv(variable, raising=False)
    found = runner.invoke(app, ["report"])
    assert found.exit_code == 2
    assert "no model_dir is set" in found.output


def test_a_report_that_is_damaged_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "swarm-report.json"
    shutil.copy(path, tmp_path / "whole.json")
    path.write_text(path.read_text()[:-20])
    found = runner.invoke(app, ["report", str(tmp_path)])
    assert found.exit_code == 1
    assert "swarm-report.json cannot be read" in found.output

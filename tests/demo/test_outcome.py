"""The results of a demo, and how they are shown."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from swarm.demo.outcome import Outcome, Training
from swarm.demo.report import draw, gain, show
from swarm.demo.tasks import HEART
from swarm.errors import DemoError


def training(accuracy: float, digest: str = "d", rounds: int = 0) -> Training:
    curve = ((10, accuracy / 2), (20, accuracy))
    return Training(accuracy=accuracy, digest=digest, rounds=rounds, bytes_sent=100 * rounds, curve=curve)


@pytest.fixture
def outcome(tmp_path: Path) -> Outcome:
    return Outcome(
        task="heart",
        framework="torch",
        sync_interval=10,
        seed=5,
        sites=("Cleveland", "Hungary"),
        samples=(243, 235),
        alone=(training(0.7, "a"), training(0.6, "b")),
        swarm=(training(0.8, rounds=7), training(0.8, rounds=7)),
        pooled=training(0.82),
        seconds=12.5,
        picture=tmp_path / "accuracy.png",
        model=tmp_path / "model.safetensors",
    )


def test_the_record_holds_what_is_documented(outcome: Outcome) -> None:
    assert json.loads(json.dumps(outcome.record())) == {
        "task": "heart",
        "framework": "torch",
        "peers": 2,
        "sync_interval": 10,
        "seed": 5,
        "rounds": 7,
        "alone": [0.7, 0.6],
        "swarm": [0.8, 0.8],
        "pooled": 0.82,
        "weights_identical": True,
        "bytes_sent": [700, 700],
        "seconds": 12.5,
    }


def test_peers_that_end_with_different_models_are_reported(outcome: Outcome) -> None:
    differing = replace(outcome, swarm=(training(0.8), training(0.8, "other")))
    assert differing.record()["weights_identical"] is False
    assert "models that differ" in gain(differing, HEART)


def test_one_sentence_reports_the_gain(outcome: Outcome) -> None:
    assert "80.0% of the test patients right, 15.0 points more than they do alone" in gain(outcome, HEART)
    worse = replace(outcome, swarm=(training(0.6), training(0.6)))
    assert "5.0 points less" in gain(worse, HEART)


def test_the_table_has_a_row_for_each_peer(outcome: Outcome) -> None:
    page = StringIO()
    show(outcome, HEART, Console(file=page, width=100))
    rows = [line.replace("│", " ").split() for line in page.getvalue().splitlines()]
    assert ["Cleveland", "243", "70.0%", "80.0%", "82.0%"] in rows
    assert ["Hungary", "235", "60.0%", "80.0%", "82.0%"] in rows
    assert str(outcome.model) in page.getvalue().replace("\n", "")


def test_the_picture_is_a_png(outcome: Outcome) -> None:
    draw(outcome)
    assert outcome.picture.read_bytes().startswith(b"\x89PNG")


def test_a_training_is_read_from_the_file_of_its_script(tmp_path: Path) -> None:
    metrics = {"swarm_rounds": 3.0, "swarm_bytes_sent": 40.0}
    left = {"accuracy": 0.5, "digest": "d", "metrics": metrics, "curve": [[8, 0.25]]}
    (tmp_path / "result.json").write_text(json.dumps(left))
    assert Training.read(tmp_path) == Training(accuracy=0.5, digest="d", rounds=3, bytes_sent=40, curve=((8, 0.25),))


def test_a_training_without_a_result_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match=r"result\.json is missing"):
        Training.read(tmp_path)

"""The results of a demo."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from swarm.demo.outcome import Outcome, Training
from swarm.errors import DemoError
from swarm.report import REPORT
from swarm.report.content import Report, Totals, to_json


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


def test_the_rounds_are_those_of_the_peer_with_the_most(outcome: Outcome) -> None:
    first, second = outcome.swarm
    assert replace(outcome, swarm=(replace(first, rounds=6), second)).rounds == 7


def test_a_training_is_read_from_the_file_of_its_script_and_the_report_of_its_site(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps({"accuracy": 0.5, "digest": "d", "curve": [[8, 0.25]]}))
    totals = Totals(bytes_sent=40)
    report = Report(site="a", session="s", sentence="", began=0.0, ended=1.0, closing=True, round=3, totals=totals)
    (tmp_path / REPORT).write_bytes(to_json(report))
    assert Training.read(tmp_path) == Training(accuracy=0.5, digest="d", rounds=3, bytes_sent=40, curve=((8, 0.25),))


def test_a_training_without_a_swarm_has_no_rounds(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps({"accuracy": 0.5, "digest": "d", "curve": []}))
    assert Training.read(tmp_path) == Training(accuracy=0.5, digest="d", rounds=0, bytes_sent=0, curve=())


def test_a_training_without_a_result_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match=r"result\.json is missing"):
        Training.read(tmp_path)

from __future__ import annotations

import math
import tomllib

import pytest

from swarm.simulate import report
from swarm.simulate.outcome import Outcome, Run, lower_is_better, named, quality, recommended
from swarm.simulate.plan import PeerEnd, Plan, end_line


def run(
    value: float | None,
    sent: float = 100.0,
    figure: str = "accuracy",
    failure: str = "",
    problem: str = "",
    rounds: float = 3.0,
) -> Run:
    ends = [PeerEnd(rank=rank, metrics={"swarm_bytes_sent": sent, "swarm_rounds": rounds}) for rank in range(2)]
    if failure:
        ends[1] = PeerEnd(rank=1, metrics={}, failure=failure)
    qualities = {} if value is None else dict.fromkeys(range(2), (figure, value))
    return Run(ends=ends, qualities=qualities, seconds=2.0, mebibytes=50.0, problem=problem)


def outcome(interval: int, *runs: Run) -> Outcome:
    return Outcome({"sync_interval": interval}, list(runs))


def test_of_choices_that_are_as_good_the_one_that_sends_least_is_recommended():
    found = [outcome(8, run(0.95, 400.0)), outcome(32, run(0.945, 100.0)), outcome(128, run(0.90, 25.0))]
    assert recommended(found, within=0.01) is found[1]
    assert recommended(found, within=0.0) is found[0]
    assert recommended(found, within=1.0) is found[2]


def test_the_lowest_loss_is_the_best():
    found = [outcome(8, run(0.1, 400.0, "loss")), outcome(32, run(0.5, 100.0, "loss"))]
    assert recommended(found, within=0.01) is found[0]
    assert lower_is_better("val_loss")
    assert lower_is_better("mean_error")
    assert not lower_is_better("auc")


def test_a_choice_with_a_failed_peer_or_without_a_figure_is_not_recommended():
    failed = outcome(8, run(0.99, failure="ValueError: no data (train.py, line 6)"))
    assert failed.quality is None
    assert named(failed) == ["sync_interval=8: peer-1: ValueError: no data (train.py, line 6)"]
    assert recommended([failed, outcome(16, run(None))], 0.01) is None
    good = outcome(32, run(0.5))
    assert recommended([failed, good], 0.01) is good


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_choice_whose_figure_is_no_number_is_not_recommended(value):
    diverged, good = outcome(8, run(value, figure="loss")), outcome(32, run(0.5, figure="loss"))
    assert recommended([diverged, good], 0.01) is good
    assert recommended([diverged], 0.01) is None
    assert diverged.record()["qualities"] == [None]


def test_a_choice_under_which_nothing_was_merged_is_not_recommended():
    alone, good = outcome(8, run(0.99, rounds=0.0)), outcome(32, run(0.5))
    assert recommended([alone, good], 0.01) is good
    assert [*map(len, map(named, [alone, good]))] == [1, 0]
    assert named(alone)[0].startswith("sync_interval=8: nothing was merged")


def test_a_printed_figure_that_is_no_number_is_the_last_one(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("loss 0.5\nloss: nan\nloss information\n", encoding="utf-8")
    name, value = quality({}, log, None)
    assert (name, math.isnan(value)) == ("loss", True)


def test_peers_that_fail_alike_are_named_together():
    ends = [PeerEnd(rank=rank, metrics={}, failure="exit code 2") for rank in (0, 3)]
    found = Run(ends=ends, qualities={}, seconds=1.0, mebibytes=None, problem="peer-1 did not end within 5 s")
    assert found.failures == ["peer-0, peer-3: exit code 2", "peer-1 did not end within 5 s"]


def test_repeats_are_averaged_and_their_range_is_shown():
    found = outcome(8, run(0.9), run(0.8))
    assert found.quality == pytest.approx(0.85)
    assert report.reason([found], found, 0.01).startswith("accuracy 0.85 (0.8 to 0.9)")


@pytest.mark.parametrize(
    ("metrics", "text", "metric", "expected"),
    [
        ({"swarm_val_loss": 0.3, "swarm_val_auc": 0.9}, "accuracy 0.5", None, ("auc", 0.9)),
        ({"swarm_val_loss": 0.3}, "accuracy 0.5", None, ("loss", 0.3)),
        ({"swarm_val_loss": 0.3, "accuracy": 0.8}, "", None, ("accuracy", 0.8)),
        ({"swarm_val_loss": 0.3}, "epoch 1 accuracy 0.5\naccuracy: .75 after 3", "accuracy", ("accuracy", 0.75)),
        ({}, 'x\n{"F1": 1e-2}\n', "f1", ("f1", 0.01)),
        ({}, "training accuracy=-1\nbye", None, ("accuracy", -1.0)),
        ({"swarm_rounds": 4.0}, "", "rounds", ("rounds", 4.0)),
        ({}, "inaccuracy 0.5", "accuracy", None),
        ({}, "done", None, None),
    ],
)
def test_the_figure_of_a_peer_is_found(tmp_path, metrics, text, metric, expected):
    log = tmp_path / "log.txt"
    log.write_text(text, encoding="utf-8")
    assert quality(metrics, log, metric) == expected
    assert quality({}, tmp_path / "none", metric) is None


def test_the_recommended_file_is_read_back_as_it_was():
    choice = {"sync_interval": 8, "overlap": True, "local": ("head.*", 'a"b'), "sync_seconds": 2.5, "codec": "int8"}
    text = report.toml(choice, "why\nand how")
    assert text.startswith("# why\n# and how\n[swarm]\n")
    assert tomllib.loads(text) == {"swarm": {**choice, "local": ["head.*", 'a"b']}}


def test_a_plan_survives_its_text():
    plan = Plan(
        program="digits",
        is_task=True,
        peers=3,
        choice={"local": ("head.*",), "sync_interval": 8},
        directory="/d",
        arguments=("-x", "1"),
    )
    assert Plan.read(plan.text()) == plan


def test_a_line_of_a_host_is_one_line():
    assert "\n" not in end_line(PeerEnd(rank=0, metrics={}, failure="a\nb"))

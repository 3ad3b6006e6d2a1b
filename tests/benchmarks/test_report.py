from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from benchmarks.attacks.__main__ import ATTACKED
from benchmarks.learning.__main__ import LEARNING
from benchmarks.report import measure
from benchmarks.report.__main__ import PAGE, RESULTS, write
from benchmarks.report.figures import Results, holding, of_the_oracle, worst
from benchmarks.report.page import page
from benchmarks.report.plan import COMMANDS, SKEWS
from swarm.merge import BUILTIN_RULES

PICTURES = ("rounds.svg", "bytes.svg", "attacks-dir0.5.svg", "attacks-dir0.1.svg")


@pytest.fixture(scope="module")
def results() -> Results:
    return Results.read(RESULTS)


def texts(picture: Path) -> list[str]:
    """What is written in a picture; its other bytes depend on the release of matplotlib."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", picture.read_text(encoding="utf-8"))


def test_the_page_is_what_the_results_give(results):
    assert PAGE.read_text(encoding="utf-8") == page(results), "run: make report"


def test_the_pictures_are_what_the_results_give(tmp_path):
    for name in COMMANDS:
        (tmp_path / f"{name}.json").write_bytes((RESULTS / f"{name}.json").read_bytes())
    write(tmp_path / "learning.md", tmp_path)
    for name in PICTURES:
        assert texts(tmp_path / name) == texts(RESULTS / name) != [], "run: make report"


def test_the_results_are_those_of_the_commands():
    for name, commands in COMMANDS.items():
        assert [each["command"] for each in getattr(Results.read(RESULTS), name)] == list(commands)


def test_a_policy_is_compared_over_ten_seeds_or_more(results):
    assert all(len(each["runs"]) == len(each["fixed_swarm"]) >= 10 for each in results.policies)


def test_every_rule_is_attacked(results):
    for partition in SKEWS:
        assert {each["rule"] for each in results.attacks if each["partition"] == partition} == set(BUILTIN_RULES)


def test_no_claim_is_without_its_interval(results):
    """Each row of a table with figures has an interval, or is a count."""
    for line in page(results).splitlines():
        if re.match(r"\| (`|\d|equal|Dirichlet|plain|none|no |yes)", line):
            assert re.search(r"\(.* to .*\)|±", line), line


def attacked(rule: str, **accuracies: list[float]) -> dict:
    return {"rule": rule, "runs": {"oracle": [1.0, 0.8], "clean": [1.0, 0.8], **accuracies}}


def test_a_ratio_to_the_oracle_is_taken_seed_by_seed():
    found = of_the_oracle(attacked("mean", sign=[0.9, 0.72], x10=[0.5, 0.8]))
    assert list(found) == ["clean", "sign", "x10"]
    assert found["sign"].mean == pytest.approx(0.9)
    assert found["sign"].high - found["sign"].low == pytest.approx(0, abs=1e-9)
    assert worst(attacked("mean", sign=[0.9, 0.72], x10=[0.5, 0.8]))[0] == "x10"


def test_a_rule_holds_only_if_it_does_under_every_attack():
    good, bad = attacked("nnm", a=[0.95, 0.77], b=[1.0, 0.8]), attacked("mean", a=[0.94, 0.75], b=[1.0, 0.8])
    assert list(holding([good, bad])) == ["nnm"]
    assert list(holding([good], sure=True)) == []  # .95 and .9625: the interval is wide
    assert list(holding([attacked("mean", a=[1.0, 0.8])], sure=True)) == ["mean"]


def test_only_what_depends_on_no_machine_is_kept():
    record = LEARNING.record(
        shlex.split("--task breast_cancer --partition iid --peers 2 --steps 4 --interval 2 --seeds 2")
    )
    kept = measure.compact(record)
    assert kept["runs"][1].keys() == {"seed", "pooled", "alone", "swarm", "rounds", "bytes"}
    assert "seconds" not in str(kept)
    attack = ATTACKED.record(
        shlex.split("--partition iid --peers 5 --bad 1 --steps 4 --interval 2 --seeds 2 --attack nan")
    )
    kept = measure.compact(attack)
    assert (kept["partition"], kept["rule"], list(kept["runs"])) == ("iid", "mean", ["oracle", "clean", "nan"])
    assert measure.written([kept, kept]).count("\n") == 4

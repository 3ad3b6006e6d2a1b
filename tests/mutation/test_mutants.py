from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.mutation import mutants

HERE = Path(__file__).parent
PRODUCT = """
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING and not None:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    x: int


def last(values: Sequence[int | None], seen: list[int | None]) -> int | None:
    seen.append(1)
    return values[-1]
"""
TEST = """
from swarm.toy import Point, last

def test_the_last():
    assert last([3, 4, Point(x=5).x], []) == 5
"""
EQUIVALENT = """
[[mutant]]
file = "swarm/toy/__init__.py"
old = "seen.append(1)"
new = "pass"
reason = "nobody reads it"
"""


@pytest.fixture
def project(tmp_path):
    """A product of one room, whose test sees what is returned and not what is noted."""
    for name, text in {
        "swarm/__init__.py": "",
        "swarm/toy/__init__.py": PRODUCT,
        "tests/toy/test_toy.py": TEST,
        "tests/mutation/equivalent.toml": EQUIVALENT,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def run(project, *options):
    return subprocess.run(
        [sys.executable, HERE / "mutants.py", *options, "--jobs", "1"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )


def test_survivors_are_listed_and_equivalent_mutants_do_not_count(project):
    ran = run(project, "toy")
    *_, survivor, header, row, record = [line for line in ran.stdout.splitlines() if line]
    counts = json.loads(record)["rooms"]["toy"]
    assert counts["killed"] == 3  # the decorator, the sign, and the place of the last value
    assert counts["survived"] == 1
    assert counts["equivalent"] == 1
    assert counts["mutants"] == 5
    assert counts["score"] == json.loads(record)["score"] == 0.75
    assert "survived: swarm/toy/__init__.py:17\n  - seen.append(1)\n  + seen.append(" in ran.stdout
    assert survivor.startswith("  + ")
    assert header.split() == ["room", "mutants", "killed", "survived", "timed", "out", "equivalent", "score"]
    assert row.split() == ["toy", "5", "3", "1", "0", "1", "0.75"]
    assert (project / "swarm/toy/__init__.py").read_text() == PRODUCT
    assert not list(project.rglob("__pycache__"))


def test_a_seed_gives_one_sample(project):
    first = run(project, "--list", "--sample", "1", "--seed", "5").stdout
    assert first.count("swarm/toy") == 1
    assert run(project, "--list", "--sample", "1", "--seed", "5").stdout == first
    assert {run(project, "--list", "--sample", "1", "--seed", str(seed)).stdout for seed in range(5)} != {first}


def test_what_only_type_checkers_read_is_not_mutated(project):
    listed = run(project, "--list", "toy").stdout
    assert "values[" in listed
    assert "TYPE_CHECKING" not in listed
    assert "def last" not in listed
    assert "frozen=False" not in listed


def test_each_exception_that_is_caught_is_replaced_also_one_with_a_dotted_name(project):
    (project / "swarm/text.py").write_text(
        "import json\ntry:\n    pass\nexcept (TypeError, json.JSONDecodeError):\n    pass\n"
        "try:\n    pass\nexcept json.JSONDecodeError as error:\n    pass\n"
        "try:\n    pass\nexcept TypeError:\n    pass\n"
    )
    ran = run(project, "--list", "swarm", "--sample", "100")
    assert sorted(line.strip() for line in ran.stdout.splitlines() if "+ except" in line) == [
        "+ except (CosmicRayTestingException, json.JSONDecodeError):",
        "+ except (TypeError, CosmicRayTestingException):",
        "+ except CosmicRayTestingException as error:",
        "+ except CosmicRayTestingException:",
    ]


def test_modules_outside_all_packages_are_a_room(project):
    (project / "swarm/text.py").write_text("ONE = 1\n")
    listed = run(project, "--list", "swarm").stdout
    assert "swarm/text.py:1" in listed
    assert "toy" not in listed


def test_every_room_is_tested_by_something(monkeypatch):
    monkeypatch.chdir(HERE.parents[1])
    assert [room for room in mutants.rooms() if not mutants.selected(room)] == []
    assert mutants.selected("merge", Path("swarm/merge/mean.py"))[0] == "tests/merge/test_mean.py"


def test_a_room_that_fails_by_itself_has_no_score(project):
    (project / "tests/toy/test_toy.py").write_text("def test_broken():\n    assert False\n")
    ran = run(project, "toy")
    assert ran.returncode == 1
    assert "the tests of toy fail without any change: tests/toy/test_toy.py" in ran.stderr
    assert "score" not in ran.stdout


def test_an_unknown_room_is_refused(project):
    ran = run(project, "toi")
    assert ran.returncode == 2
    assert "no room is called toi: choose from toy" in ran.stderr


def test_every_equivalent_mutant_is_one_of_todays_product():
    root = HERE.parents[1]
    for entry in tomllib.loads((HERE / "equivalent.toml").read_text()).get("mutant", []):
        lines = "\n".join(line.strip() for line in (root / entry["file"]).read_text().splitlines())
        assert entry["old"] in lines, f"{entry['old']!r} is no longer in {entry['file']}"
        assert entry["reason"]

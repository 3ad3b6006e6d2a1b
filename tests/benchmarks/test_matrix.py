"""What a row of the matrix is judged by. ``make test-matrix`` runs all rows with real processes."""

from __future__ import annotations

import pytest

from benchmarks.matrix.__main__ import BENCHMARK, failed, shown
from benchmarks.matrix.rows import PROGRAMS, ROWS, Row, Site, torch_loop
from benchmarks.matrix.running import judged, run

ROW = Row("two, of two processes and of one", (torch_loop("ddp"), torch_loop("none")))


def log(*models: str, digest: str = "d1", peers: int = 2) -> str:
    lines = [f"10:00:00 INFO swarm: closing model of {peers} peers loaded, digest {digest}"]
    return "\n".join([*lines, *(f"MODEL {model} 5" for model in models), ""])


def why(*texts: str, codes: tuple[int | None, ...] = (0, 0)) -> str:
    return judged(ROW, codes, texts)["why"]


def test_a_row_whose_processes_all_end_with_one_model_passes() -> None:
    found = judged(ROW, (0, 0), (log("m", "m"), log("m")))
    assert found == {"passed": True, "why": "", "rounds": 5, "digests": 1}


@pytest.mark.parametrize(
    ("texts", "codes", "reason"),
    [
        ((log("m", "m"), log("m")), (0, 1), "exit codes 0, 1"),
        ((log("m", "m"), log("m")), (0, None), "not over after 300 s"),
        ((log("m"), log("m")), (0, 0), "a process did not tell its model"),
        ((log("m", "n"), log("m")), (0, 0), "different models"),
        ((log("m", "m"), log("m", digest="d2")), (0, 0), "different models"),
        ((log("m", "m"), log("m", peers=1)), (0, 0), "no closing model of all sites"),
        ((log("m", "m"), "MODEL m 5\n"), (0, 0), "no closing model of all sites"),
        ((log("m", "m"), log("m").replace(" 5", " 0")), (0, 0), "a site merged no round"),
    ],
)
def test_a_fault_is_found(texts: tuple[str, ...], codes: tuple[int | None, ...], reason: str) -> None:
    assert why(*texts, codes=codes) == reason


def test_every_row_has_programs_that_are_there() -> None:
    assert {site.program for row in ROWS for site in row.sites} <= {path.stem for path in PROGRAMS.glob("*.py")}
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_real_sites_are_run_and_judged(tmp_path) -> None:
    site = Site("sklearn_fit")
    found = run(Row("scikit-learn", (site, site)), tmp_path / "row")
    assert (found["passed"], found["why"], found["digests"]) == (True, "", 1)


def test_rows_are_shown_and_one_that_is_left_out_did_not_fail() -> None:
    passed = {"row": "a", "passed": True, "why": "", "rounds": 5, "digests": 1, "seconds": 2.0}
    record = {"rows": [passed, {"row": "b", "left_out": "accelerate"}]}
    assert not failed(record)
    assert shown(record).splitlines()[1:] == [
        "a          yes                      5       1       2.0",
        "b          left out: no accelerate",
    ]
    assert failed({"rows": [passed, passed | {"passed": False, "why": "different models"}]})


def test_a_row_that_does_not_exist_is_named() -> None:
    with pytest.raises(SystemExit, match="no row is called 'fortran': there are PyTorch"):
        BENCHMARK.main(["--only", "fortran"])

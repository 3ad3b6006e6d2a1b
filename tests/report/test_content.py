"""Reports as JSON and back: what a reader accepts, and how it refuses the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from swarm.errors import UnreadableFileError
from swarm.report import read_report


@pytest.fixture
def path(make_run) -> Path:
    """The report of a short run."""
    run = make_run()
    run.start()
    run.round(1, 0.9, 0.7)
    run.close()
    return run.directory / "swarm-report.json"


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_fields_that_a_later_release_adds_are_left_out(path: Path) -> None:
    before = read_report(path)
    change(path, added_later={"x": 1})
    assert read_report(path) == before


def test_whole_numbers_stand_for_fractions(path: Path) -> None:
    change(path, began=1000)
    assert read_report(path).began == 1000.0


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"swarm_report": 2}, "is not a report of version 1, but of version 2"),
        ({"swarm_report": None}, "is not a report of version 1"),
        ({"site": 7}, "is no complete report: site is a int"),
        ({"rounds": [{"at": 1.0}]}, "is no complete report"),
        ({"rounds": {"at": 1.0}}, "rounds is a dict"),
        ({"sites": [1]}, "sites is a list"),
        ({"closing": 1}, "closing is a int"),
    ],
)
def test_what_is_no_report_is_refused_by_name(path: Path, values: dict[str, object], reason: str) -> None:
    change(path, **values)
    with pytest.raises(UnreadableFileError, match=reason):
        read_report(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"7", b"\xff", b"{", b"[" * 100_000])
def test_any_other_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "swarm-report.json"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"swarm-report\.json"):
        read_report(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="none"):
        read_report(tmp_path / "none")

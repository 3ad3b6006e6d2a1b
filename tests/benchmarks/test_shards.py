"""What the benchmark of shards runs, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.matrix.rows import Row
from benchmarks.shards import __main__ as shards
from benchmarks.shards.__main__ import BENCHMARK, EACH, ENDS, MIXED, WAYS, WHOLE, failed, shown


def log(*mib: float, each: bool) -> str:
    """What a site of so many processes says that need so much memory; two of them share a line."""
    told = [json.dumps({"rank": rank, "mib": some, "sent": 5e6, "rounds": 4}) for rank, some in enumerate(mib)]
    ranks = range(1, len(mib) if each else 1)
    sent = [f"10:00 INFO swarm: rank {rank} of this site has sent 2.5 MB of weights" for rank in ranks]
    return "".join(f"FOUND {line}" for line in reversed(told)) + "\n" + "\n".join(sent)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """The rows that were run. A process needs 3 MiB, or 9 with the whole model."""
    rows: list[Row] = []

    def run(row: Row, directory: Path) -> dict[str, Any]:
        directory.mkdir()
        rows.append(row)
        for name, site in zip(("ada", "bob"), row.sites, strict=True):
            needed = [9.0 if row.name == WHOLE or "--whole" in site.arguments else 3.0] * site.processes
            (directory / f"{name}.log").write_text(log(*needed, each=row.name != WHOLE))
        return {"row": row.name, "passed": True, "why": "", "seconds": 1.0}

    monkeypatch.setattr(shards, "run", run)
    return rows


def test_each_way_is_run_to_a_sync_point_and_past_one(ran: list[Row]) -> None:
    record = BENCHMARK.record(["--mib", "4"])
    batches = [row.sites[0].arguments[row.sites[0].arguments.index("--batches") + 1] for row in ran]
    assert [(row.name, int(each) % 4 > 0) for row, each in zip(ran, batches, strict=True)] == [
        (way, between) for way in WAYS for between in (False, True)
    ]
    assert [each["end"] for each in record["runs"]] == [*ENDS] * 3
    assert not failed(record)
    table = [line.split() for line in shown(record).splitlines()]
    assert [line[-5:] for line in table[1:5]] == [[site, rank, "3", "2", "4"] for site in "ab" for rank in "01"]


@pytest.mark.parametrize("way", [EACH, MIXED])
@pytest.mark.parametrize("end", [*ENDS])
def test_a_process_with_more_than_three_shards_and_the_slack_fails_it(ran: list[Row], way: str, end: str) -> None:
    record = BENCHMARK.record(["--mib", "4"])
    rank = next(each for each in record["runs"] if (each["row"], each["end"]) == (way, end))["sites"][0][1]
    rank["mib"] = 3 * 4 / 2 + shards.SLACK
    assert not failed(record)
    rank["mib"] += 0.1
    assert failed(record)


def test_the_process_that_has_all_shards_may_need_more(ran: list[Row]) -> None:
    record = BENCHMARK.record(["--mib", "4"])
    (rank,) = next(each for each in record["runs"] if each["row"] == MIXED)["sites"][1]
    rank["mib"] = 1000.0
    assert not failed(record)


def test_a_process_that_sends_more_than_its_part_fails_it(ran: list[Row]) -> None:
    record = BENCHMARK.record(["--mib", "4"])
    rank = record["runs"][0]["sites"][1][0]
    rank["sent_mb"] = 2.7
    assert not failed(record)
    rank["sent_mb"] = 2.8
    assert failed(record)


@pytest.mark.parametrize("way", [EACH, MIXED])
def test_a_process_that_told_nothing_fails_it(ran: list[Row], way: str) -> None:
    record = BENCHMARK.record([])
    next(each for each in record["runs"] if each["row"] == way)["sites"][0].pop()
    assert failed(record)


def test_a_site_that_failed_fails_it(ran: list[Row]) -> None:
    record = BENCHMARK.record([])
    record["runs"][-1]["passed"] = False
    assert failed(record)

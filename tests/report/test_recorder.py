"""What the report of a run holds, from the events of its session."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from swarm.records import Outcome
from swarm.report.content import Figures
from swarm.report.recorder import MOST_HAPPENINGS, MOST_ROUNDS


def test_a_run_is_reported_round_by_round(make_run) -> None:
    run = make_run(sync_interval=8)
    run.start()
    run.meet("berlin")
    run.round(1, 0.9, 0.7)
    run.lose("berlin", "connection lost")
    run.abort_attempt(2, "berlin is gone")
    run.skip(2, "below quorum")
    run.meet("berlin", returned=True)
    run.round(3, 0.6, 0.65, missing=("berlin",), refused={"berlin": "its tensors hold NaN or infinity"})
    run.close()
    report = run.report
    assert (report.site, report.session, report.closing, report.round) == ("paris", "heart", True, 3)
    assert (report.began, report.ended, report.file) == (1000.0, 1040.0, "swarm-final.safetensors")
    assert [each.round for each in report.rounds] == [1, 2, 3]
    assert [each.outcome for each in report.rounds] == ["merged", "skipped", "merged"]
    first, skipped, last = report.rounds
    assert (first.at, first.weights, first.own, first.merged) == (
        1010.0,
        {"berlin": 1, "paris": 3},
        Figures(loss=0.9),
        Figures(loss=0.7),
    )
    assert (skipped.reason, skipped.merged, skipped.group) == ("below quorum", None, ())
    assert last.refused == {"berlin": "its tensors hold NaN or infinity"}
    assert [(each.what, each.peer, each.round, each.reason) for each in report.happenings] == [
        ("joined", "berlin", None, ""),
        ("lost", "berlin", None, "connection lost"),
        ("failed", "", 2, "berlin is gone"),
        ("returned", "berlin", None, ""),
    ]
    assert (report.start, report.own, report.final) == (Figures(loss=1.0), Figures(loss=0.6), Figures(loss=0.65))
    assert (report.record, report.records, report.link) == ("r3", 4, "l4")


def test_the_sums_are_over_all_rounds(make_run) -> None:
    run = make_run()
    run.start()
    run.round(1, 0.9, 0.7)
    run.skip(2, "below quorum")
    run.round(3, 0.6, 0.65)
    run.close()
    totals = run.report.totals
    assert (totals.merged, totals.skipped, totals.compared, totals.better, totals.worse) == (2, 1, 2, 1, 1)
    assert (totals.seconds, totals.rounds, totals.stall, totals.training) == (40.0, 6.0, 4.5, 35.5)
    assert (totals.bytes_sent, totals.bytes_received) == (300, 600)
    sites = run.report.sites
    assert (sites["berlin"].rounds, sites["berlin"].steps, sites["berlin"].contributed) == (3, 16, 2)
    assert (sites["paris"].weight, sites["paris"].rounds) == (3, 2)


def test_settings_are_reported_with_their_origins_and_without_a_password(make_run) -> None:
    run = make_run(sync_interval=8, proxy="http://ann:secret@10.0.0.1:3128", local=["head.*"])
    run.start()
    run.close()
    settings = run.report.settings
    assert (settings["sync_interval"].value, settings["sync_interval"].origin) == (8, "argument")
    assert (settings["min_peers"].value, settings["min_peers"].origin) == (2, "default")
    assert settings["local"].value == ["head.*"]
    assert settings["name"].value == "paris"
    assert "secret" not in (run.directory / "swarm-report.json").read_text()
    assert {"python", "swarm", "numpy"} <= run.report.versions.keys()


def test_a_report_is_json_that_any_reader_takes(make_run) -> None:
    run = make_run()
    run.start(math.nan)
    run.round(1, math.inf, math.nan, metrics={"accuracy": math.nan, "auc": 0.5})
    run.close()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    found = json.loads((run.directory / "swarm-report.json").read_bytes(), parse_constant=refuse)
    assert found["swarm_report"] == 1
    assert found["rounds"][0]["merged"] == {"loss": None, "metrics": {"accuracy": None, "auc": 0.5}}
    assert run.report.totals.compared == 0


def test_a_long_run_keeps_rounds_evenly_and_the_last_one(make_run) -> None:
    run = make_run()
    run.start()
    count = 2 * MOST_ROUNDS + 2
    for number in range(1, count + 1):
        run.round(number, 0.9, 0.7)
    run.close()
    report = run.report
    assert report.every == 4
    assert [each.round for each in report.rounds] == [*range(1, count + 1, 4), count]
    assert (report.totals.merged, report.totals.better) == (count, count)


def test_a_peer_that_comes_and_goes_for_ever_does_not_fill_the_report(make_run) -> None:
    run = make_run()
    run.start()
    for _ in range(MOST_HAPPENINGS + 5):
        run.lose("berlin", "gone")
    run.close()
    assert len(run.report.happenings) == MOST_HAPPENINGS


def test_a_run_that_was_broken_off_is_reported_too(make_run) -> None:
    run = make_run()
    run.start()
    run.round(1, 0.9, 0.7)
    run.close(closing=False, reason="it was terminated", digest="", sites={}, all_rounds=0, result=None)
    report = run.report
    assert (report.closing, report.reason, report.file) == (False, "it was terminated", "")
    assert "It ended without a closing model (it was terminated)." in report.sentence
    assert report.sites["paris"].contributed == 1
    assert report.sites["paris"].rounds is None


def test_a_start_that_failed_leaves_no_report(make_run) -> None:
    run = make_run()
    run.close(closing=False, reason="the start failed", digest="")
    assert not [*run.directory.iterdir()]
    assert not run.lines


def test_the_log_has_the_sentence_and_the_file(make_run) -> None:
    run = make_run()
    run.start()
    run.round(1, 0.9, 0.7)
    run.close()
    assert run.lines == [run.report.sentence, f"the report of this run is {run.directory / 'swarm-report.json'}"]


def test_a_directory_that_cannot_be_written_costs_the_report_only(make_run, tmp_path: Path) -> None:
    run = make_run()
    run.start()
    (tmp_path / "file").write_text("")
    run.close(directory=tmp_path / "file" / "below")
    assert run.lines[-1].startswith("the report was not written to ")


@pytest.mark.parametrize("outcome", [Outcome.MERGED, Outcome.CLOSED])
def test_a_round_that_merged_nothing_does_not_count_as_merged(make_run, outcome: Outcome) -> None:
    run = make_run()
    run.start()
    run.round(1, None, 0.7, outcome=outcome, contributors=(), weights={}, steps={})
    run.close()
    assert run.report.totals.merged == 0

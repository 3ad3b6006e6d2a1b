"""The page of a report: one file, whatever is in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from swarm.records import Best, Scores
from swarm.report import Report
from swarm.report.charts import lines, stacked
from swarm.report.content import Happening, Setting, Site
from swarm.report.page import page

HOSTILE = '<script>alert("1")</script><img src=x onerror=alert(1)>'
VOID = {"meta", "line", "polyline", "circle", "rect"}


class Parsed(HTMLParser):
    """Tags, attributes and text; every element is closed in its order."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(data.decode("utf-8"))
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def shown(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture
def report(make_run: Callable[..., object]) -> Report:
    run = make_run(keep_best=True, share_metrics=True)
    run.start()
    run.meet("berlin")
    run.round(1, 0.9, 0.7, waited=1.0, waited_for=("berlin",), refused={"rome": "its tensors hold NaN"})
    run.skip(2, "below quorum")
    run.round(3, 0.6, 0.5)
    best = Best(3, "b" * 64, 0.5)
    across = {"paris": Scores(own=0.6, closing=0.5, best=0.5), "berlin": Scores(own=0.8)}
    run.close(best=best, best_file=run.directory / "swarm-best.safetensors", across=across)
    return run.report


def test_the_page_shows_what_the_report_holds(report: Report) -> None:
    found = Parsed(page(report)).shown
    for text in (
        report.sentence,
        "The best merged model is that of round 3: loss 0.5 over the sites that validate, in swarm-best.safetensors",
        "rome its tensors hold NaN",
        "below quorum",
        "Waited for: berlin 0:01",
        "loss on the data of its own last model closing model best model berlin 0.8 - - paris 0.6 0.5 0.5",
        "3 rounds",
        "b" * 64,
    ):
        assert text in found


def test_the_page_loads_nothing_and_runs_nothing(report: Report) -> None:
    data = page(report)
    found = Parsed(data)
    assert not {"script", "link", "img", "iframe", "object", "a", "form"} & {*found.tags}
    assert not [each for each in found.attributes if each[1] in {"src", "href", "action"} or each[1].startswith("on")]
    assert b"url(" not in data
    assert b"@import" not in data
    assert "default-src 'none'; style-src 'unsafe-inline'" in [value for _, _, value in found.attributes]
    assert not re.search(rb"https?://", data)


def test_texts_of_other_machines_are_shown_and_not_run(report: Report) -> None:
    bad = replace(
        report,
        site=HOSTILE,
        session=HOSTILE,
        sentence=HOSTILE,
        digest=HOSTILE,
        lineage=HOSTILE,
        rounds=tuple(
            replace(each, group=(HOSTILE,), refused={HOSTILE: HOSTILE}, reason=HOSTILE, digest=HOSTILE, outcome=HOSTILE)
            for each in report.rounds
        ),
        happenings=(Happening(at=0.0, what="left", peer=HOSTILE, reason=HOSTILE),),
        sites={HOSTILE: Site()},
        settings={"monitor": Setting(value=HOSTILE, origin=HOSTILE)},
        versions={HOSTILE: HOSTILE},
        totals=replace(report.totals, waited_for={HOSTILE: 1.0}),
    )
    found = Parsed(page(bad))
    assert {"script", "img"}.isdisjoint(found.tags)
    assert found.shown.count('<script>alert("1")</script>') > 10


def test_a_report_with_nothing_in_it_has_a_page(make_run) -> None:
    run = make_run(validates=False)
    run.start(None)
    run.close(closing=False, reason="it was terminated", sites={}, result=None, records=None)
    found = Parsed(page(run.report))
    assert "svg" not in found.tags
    assert "Nothing was merged here" in found.shown
    assert (run.directory / "swarm-report.html").read_bytes() == page(run.report)


def test_the_page_says_its_language_and_fits_narrow_screens(report: Report) -> None:
    found = Parsed(page(report))
    assert ("html", "lang", "en") in found.attributes
    assert ("meta", "content", "width=device-width, initial-scale=1") in found.attributes
    assert b"prefers-color-scheme: dark" in page(report)
    titles = [value for tag, name, value in found.attributes if (tag, name) == ("svg", "aria-label")]
    assert titles == ["Validation loss of the own and the merged model by round", "Seconds of each round"]


@pytest.mark.parametrize(
    "values",
    [
        [1.0],
        [0.0, 0.0],
        [5.0, 5.0],
        [-1.0, 1.0],
        [1e-12, 2e-12],
        [1e300, -1e300],
        [0.1 * index for index in range(2000)],
    ],
)
def test_a_chart_stays_in_its_frame(values: list[float]) -> None:
    drawn = lines("t", {"own": list(enumerate(values))}, x_label="round")
    numbers = re.findall(r'points="([^"]*)"', drawn) or re.findall(r'cx="([^"]*)" cy="([^"]*)"', drawn)
    flat = " ".join(each if isinstance(each, str) else ",".join(each) for each in numbers)
    places = [tuple(map(float, pair.split(","))) for pair in flat.split()]
    assert len(places) == len(values)
    assert all(0 <= x <= 640 and 0 <= y <= 220 for x, y in places)


def test_the_parts_of_a_bar_lie_on_one_another() -> None:
    drawn = stacked("t", [1.0, 2.0], {"wait": [1.0, 0.0], "rest": [1.0, 2.0]}, x_label="round")
    bars = [
        (name, float(y), float(height))
        for name, y, height in re.findall(
            r'<rect class="(\w+)" x="[^"]*" y="([^"]*)" width="[^"]*" height="([^"]*)"', drawn
        )
    ]
    (wait, rest, whole) = bars
    assert [each[0] for each in bars] == ["wait", "rest", "rest"]
    assert rest[1] + rest[2] == pytest.approx(wait[1], abs=0.2)
    assert whole[1] == pytest.approx(rest[1], abs=0.2)
    assert whole[2] == pytest.approx(wait[2] + rest[2], abs=0.2)


def test_a_loss_that_no_chart_can_show_is_in_the_table_only(make_run) -> None:
    run = make_run()
    run.start(1.7e308)
    run.round(1, -1.7e308, 0.5)
    run.round(2, 0.6, 0.5)
    run.close()
    found = Parsed((run.directory / "swarm-report.html").read_bytes())
    assert "1.7e+308" in found.shown
    assert "svg" in found.tags


def test_there_is_no_chart_without_values() -> None:
    assert lines("t", {"own": []}, x_label="round") == ""
    assert stacked("t", [], {"wait": [], "rest": []}, x_label="round") == ""

"""What the page looks like and how it is used: themes, sizes, keyboard, screen readers, many sites, saved runs."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from swarm.report.content import Happening, Report, Round, Totals, to_json
from tests.browser.sites import until
from tests.browser.swarms import told

AXE = Path(os.environ.get("AXE", sys.prefix), "browser/node_modules/axe-core/axe.min.js")

SIZES = [(360, 740), (768, 1024), (1280, 900), (3840, 2160)]


def opened(page, served, news=None):
    served.told = news or told(5, 40, gone="oslo", refused="madrid")
    served.start()
    page.goto(served.url)
    page.wait_for_selector("#sites tbody tr")
    page.wait_for_selector("#quality canvas")
    return page


def choose_theme(page, theme):
    if page.evaluate("document.documentElement.dataset.theme") != theme:
        page.click("#theme")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing(page, served, theme, width):
    opened(page, served)
    page.set_viewport_size({"width": width, "height": 900})
    choose_theme(page, theme)
    for details in page.query_selector_all("details"):
        details.evaluate("each => each.open = true")
    page.wait_for_timeout(500)
    page.evaluate(AXE.read_text())  # as the test's own script: the page's policy lets no other one in
    found = page.evaluate("axe.run(document, {resultTypes: ['violations', 'incomplete']})")
    problems = [
        (each["id"], [node["target"] for node in each["nodes"]][:5], each["help"]) for each in found["violations"]
    ]
    assert problems == []


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("count", [2, 64])
def test_nothing_is_cut_off_from_a_telephone_to_a_wall(page, served, picture, width, height, count):
    opened(page, served, told(count, 30))
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.evaluate(
        """() => [...document.querySelectorAll("main *")]
            .filter((each) => !each.closest(".scroll, .unseen, .u-wrap, thead") && each.getClientRects().length)
            .filter((each) => each.getBoundingClientRect().right > window.innerWidth + 1)
            .map((each) => each.outerHTML.slice(0, 80))"""
    )
    assert outside == []
    canvas = page.query_selector("#quality canvas").bounding_box()
    assert canvas["width"] > min(width, 600) / 2
    picture(f"{count}-sites-{width}-wide")


def test_sixty_four_sites_are_shown_and_one_can_be_chosen(page, served, picture):
    opened(page, served, told(64, 40, gone="site-07"))
    assert len(page.query_selector_all("#sites tbody tr")) == 64
    assert "63 of 64" in page.inner_text("#figures")
    assert "site-07 is away" in page.inner_text("#now")
    page.click("#sites >> text=site-40")
    assert "site-40" in page.inner_text("#quality .legend")
    assert "site-40" in page.inner_text("[data-scope] >> nth=0")
    picture("64-sites-one-chosen")
    page.click("#sites >> text=site-40")
    assert "site-40" not in page.inner_text("#quality .legend")


def test_everything_can_be_done_with_the_keyboard(page, served):
    opened(page, served)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.id || document.activeElement.textContent.trim().slice(0, 20)")
        )
    assert {"sites-scroll", "berlin", "rome", "measure", "took-part", "As a table"} <= reached
    page.focus("#sites tbody button >> nth=0")
    page.keyboard.press("Space")
    assert page.get_attribute("#sites tbody button >> nth=0", "aria-pressed") == "true"
    served.told = told(5, 41)
    until(page, "document.querySelector('#ledger tbody td').textContent === '41'")
    assert page.evaluate("document.activeElement.textContent") == "berlin", "news take the focus from nobody"


def test_every_chart_is_a_table_too(page, served):
    opened(page, served)
    for chart in ("quality", "seconds", "bytes", "batches"):
        page.click(f"#{chart} summary")
        until(page, f"document.querySelectorAll('#{chart} tbody tr').length === 20")
        assert re.search(r"40 rounds; in round 40", page.get_attribute(f"#{chart} .plot", "aria-label"))
    assert "oslo" in page.get_attribute("#took-part canvas", "aria-label")


def test_marks_of_an_axis_differ(page, served):
    opened(page, served)
    shown = page.evaluate(
        """async () => {
          const { duration } = await import("./page/format.js");
          const steps = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];
          return steps.map(step => [1, 2, 3, 4, 5].map(each => duration(each * step)));
        }"""
    )
    assert all(len({*marks}) == len(marks) for marks in shown), shown
    assert shown[1] == ["50 ms", "0.1 s", "0.15 s", "0.2 s", "0.25 s"]


def test_a_metric_can_be_chosen(page, served):
    opened(page, served)
    page.select_option("#measure", "accuracy")
    text = page.inner_text("#quality .legend")
    assert re.search(r"merged model, mean of the sites\s+0\.7\d+", text)
    assert "own models before the merge, mean" in text


def test_refusals_ledger_and_settings_are_there(page, served):
    opened(page, served)
    assert "its weights have moved 214 times" in page.inner_text("#refused")
    assert page.inner_text("#ledger tbody tr >> nth=0").split()[:2] == ["40", "round"]
    page.click("#settings-details summary")
    assert "sync_interval\t64\targument" in page.inner_text("#settings")


def test_the_theme_follows_the_system_and_is_kept(page, served):
    page.emulate_media(color_scheme="dark")
    opened(page, served)
    page.evaluate("localStorage.clear()")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.click("#theme")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.evaluate("localStorage.clear()")


def test_markup_of_a_peer_stays_text(page, served):
    news = told(2, 3)
    evil = "<img src=x onerror=\"document.title='owned'\">"
    news["peers"][0] |= {"name": evil, "status": evil, "waits_for": [evil], "settings": {evil: evil}}
    news["peers"][0]["warnings"] = [{"time": 1.0, "text": evil}]
    news["peers"][0]["records"] = [
        {**news["peers"][0]["records"][-1], "record": "x", "refused": [{"peer": evil, "reason": evil}]}
    ]
    opened(page, served, news)
    page.wait_for_timeout(500)
    assert page.title().startswith("chest-x-ray")
    assert page.query_selector("main img") is None
    assert evil in page.inner_text("#sites")


def test_two_sessions_are_told_apart(page, served):
    heart, lungs = told(3, 12, session="heart"), told(2, 5, session="lungs")
    opened(page, served, {**heart, "peers": [*heart["peers"], *lungs["peers"]]})
    page.select_option("#session", "lungs")
    assert len(page.query_selector_all("#sites tbody tr")) == 2
    page.select_option("#session", "heart")
    assert len(page.query_selector_all("#sites tbody tr")) == 3


def test_a_run_that_was_saved_opens_in_any_page(page, served, tmp_path):
    opened(page, served)
    with page.expect_download() as saving:
        page.click("#save")
    file = tmp_path / "swarm-run.json"
    saving.value.save_as(file)
    assert len(json.loads(file.read_text())["sessions"][0]["peers"]) == 5
    served.told = told(2, 3)
    page.reload()
    page.set_input_files("#open", file)
    until(page, "document.getElementById('link').textContent === 'a saved run'")
    assert len(page.query_selector_all("#sites tbody tr")) == 5
    assert page.inner_text("#figures dd >> nth=0") == "40"


def test_the_samples_of_a_site_are_shown_where_they_are_its_weight(page, served):
    news = told(2, 5)
    for peer in news["peers"]:
        peer |= {"weight": 1234, "settings": {**peer["settings"], "node_weightage": "samples"}}
    opened(page, served, news)
    assert page.inner_text("#sites tbody").count(", from 1,234 samples") == 2


def test_a_report_shows_the_training_loss_the_epochs_and_who_was_gone(page, served, tmp_path):
    report = Report(
        site="oslo", session="heart", sentence="Known.", began=0.0, ended=300.0, closing=True, round=3, epochs=12,
        totals=Totals(bytes_sent=2000),
        rounds=(
            Round(at=100.0, round=1, outcome="merged", group=("oslo", "paris", "rome"), batch_loss=0.5),
            Round(at=200.0, round=2, outcome="merged", group=("oslo", "rome"), batch_loss=0.25),
            Round(at=300.0, round=3, outcome="closed", group=("oslo", "rome")),
        ),
        happenings=(Happening(at=150.0, what="lost", peer="paris"), Happening(at=160.0, what="failed", peer="paris")),
    )  # fmt: skip
    file = tmp_path / "swarm-report.json"
    file.write_bytes(to_json(report))
    opened(page, served)
    page.set_input_files("#open", file)
    until(page, "document.getElementById('link').textContent === 'a saved run'")
    figures = page.inner_text("#figures")
    for told_ in ("2 of 3", "away: paris", "0.25", "12", "Sent by the sites that tell it"):
        assert told_ in figures
    rows = page.inner_text("#sites tbody")
    assert "paris\tgonesince 3 min\t" in rows
    assert "rome\tin the report\t" in rows


def test_a_file_of_something_else_is_refused_by_name(page, served, tmp_path):
    opened(page, served)
    file = tmp_path / "other.json"
    file.write_text('{"format": "something"}')
    page.set_input_files("#open", file)
    until(page, "document.getElementById('now').textContent.includes('other.json cannot be shown')")


def test_pictures_for_the_documentation(page, served, images):
    if images is None:
        pytest.skip("make test-browser IMAGES=docs/images")
    opened(page, served, told(5, 39))
    served.told = told(5, 40, gone="oslo", refused="madrid")
    page.set_viewport_size({"width": 1280, "height": 918})
    until(page, "document.getElementById('sites').textContent.includes('since 2')")
    for theme in ("light", "dark"):
        choose_theme(page, theme)
        page.wait_for_timeout(800)
        page.screenshot(path=images / f"dashboard-{theme}.png")
    page.set_viewport_size({"width": 360, "height": 740})
    choose_theme(page, "light")
    page.wait_for_timeout(800)
    page.screenshot(path=images / "dashboard-narrow.png")

"""A user's steps with real peers: open, see a round, kill a peer, see it come back, reload, open after the end."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.browser.sites import PATIENCE, Site, free_ports, until


def url_in(log: Path) -> str:
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline:
        found = re.search(r"the page is at (\S+)", log.read_text()) if log.exists() else None
        if found:
            return found[1]
        time.sleep(0.1)
    raise AssertionError(log.read_text() if log.exists() else "no log")


def says(page, what: str) -> None:
    """Wait until the headline says it."""
    until(page, "text => document.getElementById('now').textContent.includes(text)", what)


def state(page, site: str, *states: str) -> None:
    """Wait until a site is in one of these states."""
    until(
        page,
        """([site, states]) => [...document.querySelectorAll('#sites tbody tr')].some((row) =>
            row.cells[0].textContent === site && states.includes(row.querySelector('.pill').textContent))""",
        [site, states],
    )


def rounds(page) -> int:
    return int(page.inner_text("#figures dd >> nth=0").replace(",", ""))


BUSY = ("training", "waiting", "merging", "voting")


@pytest.mark.timeout(600)  # four processes start, and on a busy machine each takes half a minute
def test_from_opening_to_the_end(page, sites, tmp_path, picture):
    ports = dict(zip(("berlin", "oslo", "paris"), free_ports(3), strict=True))

    def start(name: str, *options: str) -> Site:
        others = [port for other, port in ports.items() if other != name]
        site = Site(name, ports[name], others, tmp_path, *options)
        sites.append(site)
        return site

    berlin = start("berlin", "--dashboard")
    start("paris")
    oslo = start("oslo")
    page.goto(url_in(berlin.log))

    # open, and watch rounds arrive
    for site in ports:
        state(page, site, *BUSY)
    picture("step-1-opened")
    until(page, "Number(document.querySelector('#figures dd').textContent) >= 3")
    before = rounds(page)
    until(page, f"Number(document.querySelector('#figures dd').textContent) > {before}")
    assert re.search(r"\d", page.inner_text("#quality .legend b >> nth=1"))
    picture("step-2-a-round-has-arrived")

    # kill a site, and see it named
    oslo.kill()
    state(page, "oslo", "gone", "not answering")
    says(page, "oslo is away")
    assert re.search("oslo (is gone|does not answer)", page.inner_text("#events"))
    until(page, "document.getElementById('said').textContent.includes('oslo')")
    until(page, "document.getElementById('events').textContent.includes('went ahead without oslo')")
    picture("step-3-a-killed-site")

    # see it come back
    start("oslo", "--resume")
    state(page, "oslo", *BUSY)
    until(page, "document.getElementById('events').textContent.includes('oslo is back')")
    until(
        page,
        "[...document.querySelectorAll('#ledger tbody tr')][0].textContent.includes('all 3')",
        patience=2 * PATIENCE / 1000,
    )
    picture("step-4-it-is-back")

    # reload, and lose nothing
    before = rounds(page)
    page.reload()
    until(page, f"Number(document.querySelector('#figures dd')?.textContent) >= {before}")
    assert "oslo is back" in page.inner_text("#events")
    picture("step-5-loaded-again")

    # the end
    (tmp_path / "finish").touch()
    until(page, "document.getElementById('link').textContent === 'the run has ended'", patience=2 * PATIENCE / 1000)
    says(page, "The run has ended")
    for site in ports:
        state(page, site, "ended")
    assert "nobody is missing" in page.inner_text("#figures")
    picture("step-6-the-end")
    for site in sites:
        site.process.wait(60)

    # after the end, the same page opens from the report
    report = tmp_path / "berlin" / "swarm-report.json"
    page.set_input_files("#open", report)
    until(page, "document.getElementById('link').textContent === 'a saved run'")
    assert len(page.query_selector_all("#sites tbody tr")) == 3
    assert rounds(page) >= before
    picture("step-7-from-the-report")

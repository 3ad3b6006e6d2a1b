"""Chromium, axe-core, a page with told news, and a swarm of real peers."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, sync_playwright

from swarm_dashboard import serve
from tests.browser.sites import PATIENCE, Site

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_addoption(parser):
    parser.addoption("--images", default=None, help="Directory for the pictures of the documentation.")


@pytest.fixture(scope="session")
def browser() -> Iterator[BrowserContext]:
    """Chromium with an empty profile."""
    program = shutil.which("chromium")
    assert program, "install Chromium: apt-get install chromium"
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        started = playwright.chromium.launch_persistent_context(
            profile, executable_path=program, args=FLAGS, accept_downloads=True
        )
        yield started
        started.close()


@pytest.fixture
def page(browser) -> Iterator[Page]:
    """A tab of 1280 x 900 that fails the test on any error or message of the browser."""
    tab = browser.new_page()
    tab.set_viewport_size({"width": 1280, "height": 900})
    tab.set_default_timeout(PATIENCE)
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    yield tab
    tab.close()
    assert problems == []


@pytest.fixture
def images(request) -> Path | None:
    """Where pictures for the documentation go; None: nowhere."""
    given = request.config.getoption("--images")
    return Path(given) if given else None


@pytest.fixture
def picture(page, images) -> Callable[[str], None]:
    """Takes a picture of the whole page, under this name, if ``--images`` says where pictures go."""

    def take(name: str) -> None:
        if images is not None:
            page.wait_for_timeout(800)  # charts are drawn
            page.screenshot(path=images / f"{name}.png", full_page=True)

    return take


class Served:
    """A page that shows what ``told`` holds."""

    def __init__(self) -> None:
        self.told = {"time": time.time(), "peers": [], "unreachable": []}
        self.end = None
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/?token=secret"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self, saved=()):
        self._saved = saved
        self._thread.start()

    def stop(self, end=None):
        self.end = end or {}
        self._thread.join(20)

    def _serve(self):
        serve(
            lambda: {**self.told, "time": time.time()},
            listening=self._listening,
            token="secret",
            identity=None,
            ended=lambda: self.end,
            reports=list,
            saved=self._saved,
        )


@pytest.fixture
def served() -> Iterator[Served]:
    """A page on which the test decides what peers tell."""
    page = Served()
    yield page
    if page._thread.is_alive():
        page.stop()


@pytest.fixture
def sites(tmp_path) -> Iterator[list[Site]]:
    """The peers that the test has started."""
    started: list[Site] = []
    yield started
    for site in started:
        if site.process.poll() is None:
            site.stop()

"""Peers of a swarm as real processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

PATIENCE = 180_000
"""Milliseconds until something that must appear counts as missing."""


class Site:
    """A peer that ``swarm run`` starts, and that is killed at the end of the test."""

    def __init__(self, name: str, port: int, others: list[int], directory: Path, *options: str) -> None:
        peers = [part for other in others for part in ("--peer", f"127.0.0.1:{other}")]
        self.log = directory / f"{name}.log"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SWARM_")},
            "OMP_NUM_THREADS": "1",
            "XDG_DATA_HOME": str(directory / "data"),
        }
        command = [
            sys.executable, "-m", "swarm.cli", "run", "--name", name, "--listen", f"127.0.0.1:{port}", *peers,
            "--min-peers", "2", "--model-dir", str(directory / name), *options,
            "--", sys.executable, str(Path(__file__).with_name("train.py")),
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=directory, env=environment, stdout=log, stderr=log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def until(page: Page, script: str, given: object = None, patience: float = PATIENCE / 1000) -> None:
    """Wait until ``script`` is true on the page. The page's own policy forbids Playwright's way, which needs `eval`."""
    deadline = time.monotonic() + patience
    while not page.evaluate(script, given):
        assert time.monotonic() < deadline, f"not within {patience:.0f} s: {script}; {page.inner_text('main')}"
        page.wait_for_timeout(100)

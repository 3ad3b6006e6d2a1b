"""Real peers: processes whose output is read as it comes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

PEER = Path(__file__).with_name("peer.py")
DEADLINE = 60.0


class PeerProcess:
    """A started program and what it has said, each line with when it came."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        self.name = name
        self.lines: list[tuple[float, str]] = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def said(self, pattern: str, *, after: float = 0.0, within: float = DEADLINE) -> float:
        """When a line that matches came; waits for it."""
        deadline = time.monotonic() + within
        with self._changed:
            while True:
                for at, line in self.lines:
                    if at >= after and re.search(pattern, line):
                        return at
                left = deadline - time.monotonic()
                assert left > 0, f"{self.name} never said {pattern!r}:\n{self.text}"
                self._changed.wait(left)

    @property
    def text(self) -> str:
        """All that it has said."""
        return "\n".join(line for _, line in self.lines)

    @property
    def digest(self) -> str:
        """Of the model it ended with."""
        self.said("^DIGEST")
        (digest,) = re.findall(r"^DIGEST (\w+)$", self.text, re.MULTILINE)
        return digest

    def signal(self, number: signal.Signals, *, group: bool = False) -> float:
        """Send a signal; returns when."""
        now = time.monotonic()
        if group:
            os.killpg(self._process.pid, number)
        else:
            self._process.send_signal(number)
        return now

    def wait(self, within: float = DEADLINE) -> int:
        """Its exit code."""
        return self._process.wait(within)

    def end(self) -> None:
        """Whatever it does, end it and what it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(DEADLINE)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.lines.append((time.monotonic(), line.rstrip("\n")))
                self._changed.notify_all()


Start = Callable[..., PeerProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a peer: ``start(name, *arguments, program=peer.py, prefix=(), **settings)``."""
    started: list[PeerProcess] = []

    def begin(
        name: str, *arguments: object, program: Path = PEER, prefix: tuple[str, ...] = (), **settings: object
    ) -> PeerProcess:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SWARM_")}
        given = {"log": "info", "name": name, "rendezvous": tmp_path / "rendezvous"} | settings
        environment |= {f"SWARM_{key.upper()}": str(value) for key, value in given.items() if value is not None}
        command = [*prefix, sys.executable, str(program), *map(str, arguments)]
        started.append(PeerProcess(name, command, environment))
        return started[-1]

    yield begin
    for process in started:
        process.end()


@pytest.fixture
def patient() -> dict[str, float]:
    """Settings: the failure time-out is beyond ``DEADLINE``, so that what is noticed by then was not waited for."""
    return {"failure_timeout": 2 * DEADLINE}


@pytest.fixture
def port() -> int:
    """A port of this machine that nobody uses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])

"""An earlier release from git, and peers of it and of the present one."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.harness.workers import ROOT, user_environment
from swarm.cli.environment import ONE_THREAD
from swarm.versions import Versions

PEER = Path(__file__).with_name("peer.py")
DEADLINE = 60.0
"""Seconds in which whatever is waited for must happen."""


def build(commit: str, directory: Path) -> Path:
    """Install the release at ``commit`` of this repository, without its dependencies; the directory to import it from.

    Raises:
        RuntimeError: the commit is not here, or cannot be installed.
    """
    archive = subprocess.run(
        [shutil.which("git") or "git", "archive", commit], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        raise RuntimeError(f"git archive {commit}: {archive.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(directory / "source", filter="data")
    target = directory / "release"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
    done = subprocess.run([*pip, str(directory / "source")], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{commit} cannot be installed: {done.stderr.strip()[-1000:]}")
    return target


def versions(release: Path) -> Versions:
    """The versions of the protocol that the release in a directory speaks."""
    script = "from swarm.versions import here; print(here().newest, here().oldest)"
    environment = {**user_environment(), "PYTHONPATH": str(release)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=release, env=environment, capture_output=True, text=True, check=False)
    # The first builds do not know versions.
    newest, oldest = map(int, done.stdout.split()) if done.returncode == 0 else (0, 0)
    return Versions(newest, oldest, "")


class Peers:
    """Processes of one session. Leaving it as a context manager ends all of them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        directory.mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @property
    def stop(self) -> Path:
        """The file that ends the training of all peers once it exists."""
        return self._directory / "stop"

    def start(self, name: str, release: Path, *words: object, **settings: Any) -> None:
        """Start a peer of the release in a directory; ``words`` are given to its script, ``settings`` to Swarm."""
        given = {
            "log": "info",
            "name": name,
            "rendezvous": self._directory / "rendezvous",
            "start_timeout": 30,
            "straggler_timeout": 2,
            **settings,
        }
        variables = {f"SWARM_{key.upper()}": str(value) for key, value in given.items()}
        with self._log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, str(PEER), str(self.stop), *map(str, words)],
                cwd=self._directory,
                env={**ONE_THREAD, **user_environment(), **variables, "PYTHONPATH": str(release)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def terminate(self, name: str) -> None:
        """End a peer as its site would, with SIGTERM; returns once it has ended."""
        self._processes[name].terminate()
        self._processes[name].wait(DEADLINE)

    def exit_codes(self) -> dict[str, int]:
        """By peer, once all have ended.

        Raises:
            RuntimeError: one does not end in time.
        """
        self.wait(lambda: all(process.poll() is not None for process in self._processes.values()), "all peers ended")
        return {name: process.wait() for name, process in self._processes.items()}

    def ended(self, name: str) -> bool:
        """Whether the process of a peer has ended."""
        return self._processes[name].poll() is not None

    def text(self, name: str) -> str:
        """What the processes of a peer have printed."""
        return self._log(name).read_text(encoding="utf-8", errors="replace")

    def wait(self, condition: Callable[[], object], what: str) -> float:
        """Wait until ``condition`` is true; seconds that it took.

        Raises:
            RuntimeError: it is not true in time.
        """
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > DEADLINE:
                logs = "\n".join(f"--- {name}\n{self.text(name)[-2000:]}" for name in self._processes)
                raise RuntimeError(f"waited in vain until {what}:\n{logs}")
            time.sleep(0.02)
        return time.monotonic() - began

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"


def rounds(text: str) -> list[tuple[int, int]]:
    """Number and group size of each round in a log."""
    found = re.findall(r"INFO swarm: round (\d+)(?: \(closing\))?: (\d+) peers", text)
    return [(int(number), int(size)) for number, size in found]

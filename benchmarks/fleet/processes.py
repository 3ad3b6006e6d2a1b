"""Starts peers, hears what they write down, and ends them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from benchmarks.fleet.journal import Event, Reader
from swarm.cli.environment import ONE_THREAD
from swarm.demo.digits import load
from swarm.demo.sites import write

ROOT = Path(__file__).parents[2]
TICK = 0.01
"""Seconds between looks at the journals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What the peers of a fleet train, and how."""

    peers: int
    seed: int
    hidden: int
    """Units of the hidden layer."""
    sync_interval: int
    pause: float
    """Seconds that a batch takes beside its computation."""
    failure_timeout: float
    with_workers: int = 0
    """Peers, counted from the last, whose DataLoader has a worker process."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """More settings of Swarm."""

    @property
    def names(self) -> tuple[str, ...]:
        """The peers' names, by rank."""
        return tuple(f"peer-{rank}" for rank in range(self.peers))

    def at_full_speed(self) -> Training:
        """The same batches without pauses and worker processes."""
        return replace(self, pause=0.0, with_workers=0)

    def workers(self, name: str) -> int:
        """Worker processes of this peer's DataLoader."""
        return int(self.names.index(name) >= self.peers - self.with_workers)


class Moment(NamedTuple):
    """A point of time, and how many events had been read by then: all that came after it lie behind those."""

    at: float
    read: int


class Fleet:
    """The peers of one training. Leaving it as a context manager ends every process that it started."""

    def __init__(self, training: Training, directory: Path, *, watch: Callable[[], None] = lambda: None) -> None:
        """Write the data; ``watch`` is called again and again while the fleet waits for something."""
        self.training = training
        self.directory = directory
        self.events: list[Event] = []
        """All that was written down so far."""
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._watch = watch
        (directory / "events").mkdir(parents=True)
        self._reader = Reader(directory / "events")
        write(load(training.peers, training.seed), directory / "data")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in self._processes:
            self._end(name)

    def pid(self, name: str) -> int:
        """Of the process that is, or was last, this peer."""
        return self._processes[name].pid

    def start(self, *names: str) -> None:
        """Start peers, anew where there were processes of these names."""
        for name in names:
            if name in self._processes:
                self._end(name)
            with self.log(name).open("ab") as log:
                self._processes[name] = subprocess.Popen(  # noqa: S603  (this very package)
                    self._command(name),
                    cwd=ROOT,
                    env=self._environment(name),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the peer's process, not to its workers."""
        self._processes[name].send_signal(number)

    def stop_after(self, number: int) -> None:
        """Let every peer end its training once it has round ``number``."""
        draft = self.directory / "stop.tmp"
        draft.write_text(str(number), encoding="utf-8")
        draft.replace(self.directory / "stop")

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Read what comes until ``condition`` holds; False if it does not within ``seconds``."""
        deadline = time.monotonic() + seconds
        while True:
            self.events += self._reader.read()
            self._watch()
            if condition():
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(TICK)

    def now(self) -> Moment:
        """This moment, for ``since``."""
        return Moment(time.monotonic(), len(self.events))

    def since(self, moment: Moment) -> list[Event]:
        """What happened after that moment, as far as it was read."""
        return [event for event in self.events[moment.read :] if event.at > moment.at]

    def let(self, seconds: float) -> None:
        """Let time pass."""
        self.wait(lambda: False, seconds)

    def ended(self) -> bool:
        """Whether all processes are over."""
        return all(process.poll() is not None for process in self._processes.values())

    def exit_codes(self) -> dict[str, int | None]:
        """Of each peer; None where it runs."""
        return {name: process.poll() for name, process in self._processes.items()}

    def log(self, name: str) -> Path:
        """What the peer's processes print."""
        return self.directory / f"{name}.log"

    def model_dir(self, name: str) -> Path:
        """The peer's MODEL_DIR."""
        return self.directory / "models" / name

    def _end(self, name: str) -> None:
        process = self._processes[name]
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it leads a group of its own: workers go with it
        process.wait()

    def _command(self, name: str) -> list[str]:
        training = self.training
        options = {
            "--seed": training.seed,
            "--hidden": training.hidden,
            "--sync-interval": training.sync_interval,
            "--pause": training.pause,
            "--workers": training.workers(name),
        }
        words = [str(word) for option in options.items() for word in option]
        return [sys.executable, "-m", "benchmarks.fleet.peer", str(self.directory), *words]

    def _environment(self, name: str) -> dict[str, str]:
        training = self.training
        user = {key: value for key, value in os.environ.items() if not key.startswith("SWARM_")}
        settings = {
            "log": "info",
            "name": name,
            "rank": training.names.index(name),
            "world_size": training.peers,
            "rendezvous": self.directory / "rendezvous",
            "model_dir": self.model_dir(name),
            "failure_timeout": training.failure_timeout,
            "start_timeout": 60,
            **training.settings,
        }
        ours = {f"SWARM_{key.upper()}": str(value) for key, value in settings.items()}
        return {**ONE_THREAD, **user, **ours, "PYTHONUNBUFFERED": "1"}

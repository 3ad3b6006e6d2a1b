"""Starts peers, reads their journals, and ends them."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from benchmarks.fleet.journal import Event, Reader
from benchmarks.harness.command import integer, positive
from benchmarks.harness.workers import ROOT, user_environment
from swarm.cli.environment import ONE_THREAD
from swarm.demo.digits import load
from swarm.demo.sites import write
from swarm.identity.throwaway import make_identities

TICK = 0.01
"""Seconds from one reading of the journals to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What the peers of a fleet train, and how."""

    peers: int
    seed: int
    hidden: int
    """Units of the hidden layer."""
    sync_interval: int
    pause: float
    """Seconds added to every batch."""
    failure_timeout: float
    with_workers: int = 0
    """Peers, counted from the last, whose DataLoader has a worker process."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Additional settings of Swarm."""
    observers: Sequence[str] = ()
    """With names, the peers have identities, and so have these, which do not train: see ``Fleet.identity``."""

    @classmethod
    def of(cls, options: argparse.Namespace, **fields: Any) -> Training:
        """The training that ``add_options`` and ``fields`` describe."""
        names = ("peers", "seed", "pause", "failure_timeout")
        return cls(**{name: getattr(options, name) for name in names}, sync_interval=4, **fields)

    @property
    def names(self) -> tuple[str, ...]:
        """The peers' names, by rank."""
        return tuple(f"peer-{rank}" for rank in range(self.peers))

    def workers(self, name: str) -> int:
        """Worker processes of this peer's DataLoader."""
        return int(self.names.index(name) >= self.peers - self.with_workers)


def add_options(parser: argparse.ArgumentParser, *, pause: float, failure_timeout: float) -> None:
    """Add the options of a training, with these defaults."""
    parser.add_argument("--peers", type=integer(3), default=4, help="(default 4)")
    parser.add_argument("--seed", type=int, default=0, help="of data, weights and faults (default 0)")
    parser.add_argument("--pause", type=float, default=pause, help=f"seconds added to every batch (default {pause:g})")
    text = f"of the peers, in seconds (default {failure_timeout:g})"
    parser.add_argument("--failure-timeout", type=positive, default=failure_timeout, help=text)


class Moment(NamedTuple):
    """A time, and the number of events read by then: every later event comes after these."""

    at: float
    read: int


class Fleet:
    """The peers of one training. Leaving it as a context manager ends every process that it started."""

    def __init__(self, training: Training, directory: Path, *, watch: Callable[[Fleet], None] = lambda _: None) -> None:
        """Write the data; ``watch`` is called again and again while the fleet waits."""
        self.training = training
        self.directory = directory
        self.events: list[Event] = []
        """All events read from the journals so far."""
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._watch = watch
        (directory / "events").mkdir(parents=True)
        self._reader = Reader(directory / "events")
        (directory / "training.json").write_text(json.dumps(asdict(training)), encoding="utf-8")
        write(load(training.peers, training.seed), directory / "data")
        if training.observers:
            names = (*training.names, *training.observers)
            (directory / "identities").mkdir()
            make_identities({name: self.identity(name) for name in names})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in self._processes:
            self._end(name)

    def pid(self, name: str) -> int:
        """The number of this peer's process, or of its last one."""
        return self._processes[name].pid

    def start(self, *names: str) -> None:
        """Start peers; a process with one of these names is killed first."""
        for name in names:
            if name in self._processes:
                self._end(name)
            with self.log(name).open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.fleet.peer", str(self.directory), str(os.getpid())],
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
        """Read the journals until ``condition`` is true; False if it is not within ``seconds``."""
        deadline = time.monotonic() + seconds
        while True:
            self.events += self._reader.read()
            self._watch(self)
            if condition():
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(TICK)

    def now(self) -> Moment:
        """This moment, for ``since``."""
        return Moment(time.monotonic(), len(self.events))

    def since(self, moment: Moment) -> list[Event]:
        """The events after that moment, of those read so far."""
        return [event for event in self.events[moment.read :] if event.at > moment.at]

    def run_for(self, seconds: float) -> None:
        """Wait while the fleet trains."""
        self.wait(lambda: False, seconds)

    def ended(self) -> bool:
        """Whether all processes have ended."""
        return all(process.poll() is not None for process in self._processes.values())

    def exit_codes(self) -> dict[str, int | None]:
        """By peer; None if it is running."""
        return {name: process.poll() for name, process in self._processes.items()}

    def log(self, name: str) -> Path:
        """The file to which the peer's processes print."""
        return self.directory / f"{name}.log"

    def model_dir(self, name: str) -> Path:
        """The peer's MODEL_DIR."""
        return self.directory / "models" / name

    def identity(self, name: str) -> Path:
        """The directory with the identity of a peer or an observer."""
        return self.directory / "identities" / name

    def _end(self, name: str) -> None:
        process = self._processes[name]
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its process group, workers included
        process.wait()

    def _environment(self, name: str) -> dict[str, str]:
        training = self.training
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
        if training.observers:
            settings["identity"] = self.identity(name)
        ours = {f"SWARM_{key.upper()}": str(value) for key, value in settings.items()}
        return {**ONE_THREAD, **user_environment(), **ours, "PYTHONUNBUFFERED": "1"}

"""What holds for every test: few threads, quiet frameworks, no Swarm settings from outside, repeatable examples."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import settings

from swarm.records import NOT_RESUMED

if TYPE_CHECKING:
    from collections.abc import Iterator

# Before any framework is imported: several peers in one process must not each start a thread per core.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

# A shell has the jobs it starts in the background ignore Ctrl-C, and the tests' processes would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples every time, and no deadline: the time limit is the test's, and a busy machine is no failure.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None, max_examples=50)
settings.load_profile("repeatable")


_NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_OF_TORCHRUN = {name: os.environ.get(name) for name in _NAMES}


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SWARM_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_files_in_the_home_of_whoever_tests(monkeypatch: pytest.MonkeyPatch, tmp_path_factory) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "data-home"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """A test leaves neither torch's process group to those after it, nor variables with which Accelerate opens one."""
    yield
    left = [name for name, value in _OF_TORCHRUN.items() if os.environ.get(name) != value]
    for name in left:
        os.environ.pop(name, None)
        if (value := _OF_TORCHRUN[name]) is not None:
            os.environ[name] = value
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
        left.append("torch's process group")
    if left:
        pytest.fail(f"the test has left {', '.join(left)} to the tests after it")


class RecordingSession:
    """Stands for a session: merges every ``interval`` batches, and keeps what it was told."""

    interval = 3

    def __init__(self, settings, port, *, evaluate, learning_rate, correction, training, logger):
        self.settings, self.port, self.evaluate, self.logger = settings, port, evaluate, logger
        self.learning_rate = learning_rate
        self.correction = correction
        self.training = training
        self.resumed, self.swarm_batches = NOT_RESUMED, 0
        self.calls: list[tuple] = []
        self.counted = self.rounds = 0
        self.over = self.all_done = False
        self.stops_after: int | None = None
        """Rounds after which the swarm ends the training; None: it does not."""
        self.extensions = 0
        self.opened.append(self)

    opened: ClassVar[list[RecordingSession]] = []

    @property
    def batches_left(self) -> int:
        return max(self.interval - self.counted, 0)

    @property
    def should_stop(self) -> bool:
        return self.stops_after is not None and self.rounds >= self.stops_after

    @property
    def result(self) -> Path | None:
        ended = any(call[0] == "end" for call in self.calls)
        return self.settings.model_dir / "swarm-final.safetensors" if ended and self.settings.model_dir else None

    @property
    def commit(self) -> SimpleNamespace | None:
        return SimpleNamespace(round=self.round) if self.rounds else None

    @property
    def round(self):
        return 10 * self.rounds or None

    def begin(self):
        self.calls.append(("begin",))

    def advance(self, batches=1, *, at_boundary=True, loss=None, averaged=False):
        self.counted += batches
        if at_boundary and self.counted >= self.interval:
            self.calls.append(("merge", self.counted, loss))
            self.counted = 0
            self.rounds += 1

    def epoch_end(self, epoch):
        self.calls.append(("epoch", epoch, self.counted))

    def extend(self):
        """Ask for as many epochs more as ``extensions`` says, if peers train until all have."""
        if self.settings.train_until == "own":
            return False
        self.calls.append(("extend", self.counted))
        self.extensions -= 1
        return self.extensions >= 0

    def end(self):
        self.calls.append(("end", self.counted))
        self.over = True

    def abort(self, reason, *, unintended=False):
        self.calls.append(("abort", reason))

    def metrics(self):
        return {"swarm_rounds": float(self.rounds)}


@pytest.fixture
def recording_session() -> type[RecordingSession]:
    """A class of sessions that have no network; its ``opened`` lists those that were made."""
    return type("RecordingSession", (RecordingSession,), {"opened": []})


class LonePeer:
    """A peer that does listen and needs no other, so that it can be seen what is left of it."""

    def __init__(self, directory: Path) -> None:
        self.arguments = {"rendezvous": directory, "min_peers": 1, "world_size": 1, "name": "lone"}
        self._directory = directory
        self._before = {*threading.enumerate()}

    def look(self, session) -> None:
        """See the peer at work: where it listens, in which threads, and that others find it."""
        host, _, port = session.status()["address"].rpartition(":")
        self._address = (host, int(port))
        self._threads = {*threading.enumerate()} - self._before
        socket.create_connection(self._address, 5.0).close()
        assert self._threads
        assert [*self._directory.iterdir()]

    def require_gone(self) -> None:
        for thread in self._threads:
            thread.join(5.0)
        assert [thread.name for thread in self._threads if thread.is_alive()] == []
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(self._address, 5.0)
        assert [*self._directory.iterdir()] == []


@pytest.fixture
def lone_peer(tmp_path) -> LonePeer:
    return LonePeer(tmp_path / "rendezvous")


@pytest.fixture
def separate_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each callback has an address of its own, as if it were the only one of its process."""

    def session(settings, port, **options):
        from swarm.session import Session
        from swarm.session.wiring import network_of
        from swarm.transport.shared import SharedAddress

        def network(settings, plugins):
            return network_of(settings, plugins, SharedAddress())

        return Session(settings, port, **options, network=network)

    monkeypatch.setattr("swarm.callback.base.BaseCallback.session_factory", staticmethod(session))

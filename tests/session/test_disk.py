"""A disk that hangs: rounds do not wait for it, and files that were not written are logged."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from swarm.errors import ConfigurationError
from swarm.session import ending, session
from swarm.storage import checkpoints, writer
from swarm.storage.files import FINAL, LOCAL, read_model_file, write_model
from swarm.tensors.state import ModelState
from swarm.testing.nodes import DEADLINE
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together
from tests.session.ctrl_c import CtrlC


def count(peer: SwarmPeer) -> None:
    peer.arrays["w"] += {"ada": 1.0, "bob": 100.0}[peer.name]


def held(place: Path, peer: SwarmPeer) -> list[float]:
    """The weights in a file that ``peer`` wrote."""
    model = read_model_file(place, peer.model.schema())
    assert model is not None
    return model.segments["float64"].tolist()


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """Set when the test is over, so that its threads end."""
    event = threading.Event()
    yield event
    event.set()


def test_the_closing_round_does_not_wait_for_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ada's disk takes nothing before bob has ended and she has her closing model."""
    ended, concluded = threading.Event(), threading.Event()

    def write(path: Path, model: ModelState, about: Mapping[str, str]) -> None:
        if path.name == FINAL:
            concluded.set()
        assert ended.wait(DEADLINE)
        assert concluded.wait(DEADLINE)
        write_model(path, model, about)

    monkeypatch.setattr(writer, "write_model", write)
    swarm = MemorySwarm(sync_interval=2, world_size=2)
    ada, bob = swarm.peer("ada", {"w": np.zeros(1)}, model_dir=tmp_path), swarm.peer("bob", {"w": np.zeros(1)})

    def train_and_tell() -> None:
        bob.train(3, count)
        ended.set()

    together(partial(ada.train, 3, count), train_and_tell)
    merged = (2 + 200) / 2
    assert held(tmp_path / LOCAL, ada) == [merged + 1]
    assert held(tmp_path / FINAL, ada) == bob.arrays["w"].tolist() == [merged + (1 + 100) / 2]


def test_files_that_a_hanging_disk_did_not_write_are_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, never: threading.Event
) -> None:
    for module in (writer, checkpoints):
        monkeypatch.setattr(module, "write_model", lambda *_: never.wait())
    for module in (ending, session):
        monkeypatch.setattr(module, "PATIENCE", 0.0)
    swarm = MemorySwarm(sync_interval=2, world_size=2)
    ada, bob = swarm.peer("ada", {"w": np.zeros(1)}, model_dir=tmp_path), swarm.peer("bob", {"w": np.zeros(1)})
    together(partial(ada.train, 3, count), partial(bob.train, 3, count))
    assert ada.digest() == bob.digest()
    # Without any patience the ledger, whose disk works, may be behind as well.
    unwritten = [line for line in ada.lines if line.startswith("ERROR") and "written to ledger" not in line]
    assert [line.partition(" was not written to ")[0] for line in unwritten] == [
        "ERROR round 3", f"ERROR {LOCAL}", f"ERROR {FINAL}",
    ]  # fmt: skip
    assert all(line.endswith("does the disk hang?") for line in unwritten)


def test_leaving_waits_for_files_that_are_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while others are served: the process may end as soon as that is through."""
    awaited, wait = threading.Event(), writer.wait

    def write(path: Path, model: ModelState, about: Mapping[str, str]) -> None:
        assert awaited.wait(DEADLINE)
        write_model(path, model, about)

    def note(begun: Iterable[Future[None]], patience: float) -> object:
        awaited.set()
        return wait(begun, patience)

    monkeypatch.setattr(writer, "write_model", write)
    monkeypatch.setattr(writer, "wait", note)
    swarm, ctrl_c = MemorySwarm(sync_interval=2, world_size=1, min_peers=1), CtrlC()
    ada = swarm.peer("ada", {"w": np.zeros(1)}, model_dir=tmp_path, platform=ctrl_c.platform)
    ada.session.begin()
    ctrl_c.press()
    with pytest.raises(KeyboardInterrupt):
        ada.session.end()
    assert held(tmp_path / LOCAL, ada) == [0.0]


def test_a_start_that_fails_leaves_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    peer = MemorySwarm(merge_method="none of them").peer("ada", {"w": np.zeros(2)}, model_dir=tmp_path)
    with pytest.raises(ConfigurationError, match="none of them"):
        peer.session.begin()
    assert not [thread.name for thread in threading.enumerate() if thread not in before]

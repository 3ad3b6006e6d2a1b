"""A restarted peer continues from its last commit, or catches up if the others are ahead."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from swarm.errors import ConfigurationError
from swarm.executor import ThreadExecutor
from swarm.records import Commit
from swarm.storage.checkpoints import CheckpointFiles, Checkpoints
from swarm.tensors.state import WEIGHT_DTYPES, ModelState, Schema, TensorSpec, numpy_dtype
from swarm.testing.swarm import MemorySwarm, SwarmPeer, _logger, together

SCHEMA = Schema((TensorSpec("w", (3,), "float32"),))


def place(model_dirs: dict[str, Path], name: str) -> Path:
    return model_dirs[name] / "swarm-state" / "swarm_model" / name


def count(peer: SwarmPeer) -> None:
    peer.arrays["w"] += 1.0


def begin_and_train(peer: SwarmPeer, batches: int) -> None:
    peer.session.begin()
    peer.go_on(batches, count)


def pair(places: dict[str, Path], **settings: object) -> tuple[SwarmPeer, SwarmPeer]:
    settings = {"failure_timeout": 0.3, **settings}
    swarm = MemorySwarm(sync_interval=2, world_size=2, checkpoint_seconds=0, **settings)
    first, second = (
        swarm.peer(name, {"w": np.zeros(3, np.float32)}, model_dir=place) for name, place in places.items()
    )
    return first, second


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    return {"ada": tmp_path / "ada", "bob": tmp_path / "bob"}


@pytest.fixture
def stopped(places: dict[str, Path]) -> dict[str, Path]:
    """Model directories of two peers that were stopped after four batches, two rounds."""
    peers = pair(places)
    together(*(partial(begin_and_train, peer, 4) for peer in peers))
    for peer in peers:
        peer.session.abort("power cut")
    return places


def test_a_whole_swarm_that_stopped_continues_from_its_checkpoints(stopped: dict[str, Path]) -> None:
    ada, bob = pair(stopped, resume=True)
    together(partial(ada.train, 4, count), partial(bob.train, 4, count))
    assert ada.arrays["w"].tolist() == bob.arrays["w"].tolist() == [8.0] * 3
    assert any("resuming from round 2" in line for line in ada.lines)


def test_a_peer_resumes_alone_from_its_own_disk(stopped: dict[str, Path]) -> None:
    ada, _ = pair(stopped, resume=True)
    begin_and_train(ada, 1)
    assert ada.arrays["w"].tolist() == [5.0] * 3
    assert any("resumed round 2 alone" in line for line in ada.lines)
    ada.session.abort("done")


def test_a_peer_that_is_behind_catches_up_with_the_swarm(stopped: dict[str, Path], tmp_path: Path) -> None:
    away = {"ada": stopped["ada"], "bob": tmp_path / "elsewhere"}
    ahead = ModelState(SCHEMA, {"float32": np.full(3, 40.0, np.float32)}, [])
    record = Commit(
        **{
            **_fields(place(stopped, "ada")),
            "round": 9,
            "digest": ahead.digest(),
            "weight": 90,
        }
    )
    checkpoints = Checkpoints(
        CheckpointFiles(place(away, "bob")), every=0, executor=ThreadExecutor(), logger=_logger("disk", [])
    )
    checkpoints.offer(record, ahead)
    checkpoints.close(timeout=10)
    # Long enough for a second try: ada may ask bob for his model before he has met her.
    ada, bob = pair(away, resume=True, failure_timeout=2.0)
    started = []

    def behind() -> None:
        ada.session.begin()
        started.append(ada.arrays["w"].tolist())
        ada.go_on(2, count)

    together(behind, bob.session.begin)
    assert started == [[40.0] * 3]
    assert ada.arrays["w"].tolist() == bob.arrays["w"].tolist() == [42.0] * 3, "bob brings nothing new, and waits"
    for peer in (ada, bob):
        peer.session.abort("done")


def test_an_earlier_run_is_not_resumed_without_the_setting(stopped: dict[str, Path]) -> None:
    ada, bob = pair(stopped)
    together(partial(ada.train, 4, count), partial(bob.train, 4, count))
    assert ada.arrays["w"].tolist() == [4.0] * 3


def test_a_closed_run_is_the_start_of_a_new_one(places: dict[str, Path]) -> None:
    together(*(partial(peer.train, 4, count) for peer in pair(places)))
    ada, bob = pair(places, resume=True)
    together(partial(ada.train, 4, count), partial(bob.train, 4, count))
    assert ada.arrays["w"].tolist() == bob.arrays["w"].tolist() == [8.0] * 3
    assert any("which closed its run" in line for line in ada.lines)


def test_the_checkpoints_of_another_model_are_refused_by_file(stopped: dict[str, Path]) -> None:
    swarm = MemorySwarm(world_size=2, resume=True)
    other = swarm.peer("ada", {"w": np.zeros(5, np.float32)}, model_dir=stopped["ada"])
    with pytest.raises(
        ConfigurationError, match=r"safetensors contains another model.*'w' is float32\[3\] in the file, and"
    ):
        other.session.begin()


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_a_run_of_any_dtype_is_resumed(places: dict[str, Path], dtype: str) -> None:
    def peers(**settings: object) -> list[SwarmPeer]:
        swarm = MemorySwarm(sync_interval=2, world_size=2, failure_timeout=0.3, checkpoint_seconds=0, **settings)
        zeros = np.zeros(3, numpy_dtype(dtype))
        return [swarm.peer(name, {"w": zeros}, model_dir=place) for name, place in places.items()]

    def step(peer: SwarmPeer) -> None:
        peer.arrays["w"] += 1

    def stop(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(4, step)

    first = peers()
    together(*(partial(stop, peer) for peer in first))
    for peer in first:
        peer.session.abort("power cut")
    second = peers(resume=True)
    together(*(partial(peer.train, 4, step) for peer in second))
    assert [peer.arrays["w"].tolist() for peer in second] == [[8.0] * 3] * 2


def _fields(place: Path) -> dict[str, object]:
    found = CheckpointFiles(place).newest(SCHEMA, _logger("disk", []))
    assert found is not None
    return {name: getattr(found[0], name) for name in Commit.__dataclass_fields__}

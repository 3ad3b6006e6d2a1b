"""A peer that starts again goes on from what it had committed, or catches up where the others are further."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from swarm.clock import Clock, ManualClock
from swarm.errors import ConfigurationError, ModelError
from swarm.executor import ThreadExecutor
from swarm.records import Commit, SyncState
from swarm.storage.checkpoints import KEEP, CheckpointFiles, Checkpoints
from swarm.storage.files import read_model_file, write_model
from swarm.tensors.state import WEIGHT_DTYPES, ModelState, Schema, TensorSpec, numpy_dtype
from swarm.testing.nodes import eventually
from swarm.testing.swarm import MemorySwarm, SwarmPeer, _logger, together

SCHEMA = Schema((TensorSpec("w", (3,), "float32"),))


def disk(place: Path, lines: list[str] | None = None, *, every: float = 0, clock: Clock | None = None) -> Checkpoints:
    files, logger = CheckpointFiles(place), _logger("disk", [] if lines is None else lines)
    return Checkpoints(files, every=every, executor=ThreadExecutor(clock), logger=logger)


def model(value: float) -> ModelState:
    return ModelState(SCHEMA, {"float32": np.full(3, value, np.float32)}, [])


def commit(round_: int, state: ModelState, *, closing: bool = False) -> Commit:
    return Commit(
        lineage="line",
        round=round_,
        digest=state.digest(),
        members=("ada", "bob"),
        group=("ada", "bob"),
        contributors=("ada",),
        sync=SyncState(4, 0.5),
        weight=round_,
        closing=closing,
    )


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


def test_a_whole_swarm_that_stopped_goes_on_where_it_was(stopped: dict[str, Path]) -> None:
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
    ahead = model(40.0)
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


def test_without_being_told_nobody_picks_up_an_earlier_run(stopped: dict[str, Path]) -> None:
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


@pytest.mark.parametrize(
    ("names", "difference"),
    [
        (["w", "x"], "'x' is not in the file$"),
        (["v"], "'v' is not in the file, which has 'w'$"),
        ([], "'w' is in the file, and not in the model$"),
    ],
)
def test_another_model_is_refused_by_its_first_difference(tmp_path: Path, names: list[str], difference: str) -> None:
    write_model(tmp_path / "model.safetensors", model(1), {})
    other = Schema(tuple(TensorSpec(name, (3,), "float32") for name in names))
    with pytest.raises(ModelError, match=difference):
        read_model_file(tmp_path / "model.safetensors", other)


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


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _damage_the_header(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"{", b"[", 1))


def _change_the_dtype(path: Path, dtype: bytes) -> None:
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"F32"', dtype).replace(b'"shape":[3]', b'"shape":[12]'))


def _replace_by_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        _damage_the_header,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\xff" * 100),
        partial(_change_the_dtype, dtype=b'"F99"'),
        partial(_change_the_dtype, dtype=b'"F8_E8M0"'),
        _replace_by_a_directory,
    ],
    ids=["truncated", "header", "empty", "noise", "no-dtype", "foreign-dtype", "directory"],
)
def test_a_checkpoint_that_cannot_be_read_is_passed_over_by_name(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    checkpoints = disk(tmp_path)
    for round_ in (1, 2):
        checkpoints.offer(commit(round_, model(round_)), model(round_))
        eventually(lambda round_=round_: (tmp_path / f"line-{round_:09d}.json").exists(), f"round {round_}")
    checkpoints.close(timeout=10)
    damage(tmp_path / "line-000000002.safetensors")
    said: list[str] = []
    found = CheckpointFiles(tmp_path).newest(SCHEMA, _logger("disk", said))
    assert found is not None
    assert found[0].round == 1
    (line,) = said
    assert line.startswith("WARNING resume: ")
    assert "line-000000002" in line
    assert "skipped" in line


def test_where_no_checkpoint_can_be_used_it_is_said_that_the_run_starts_anew(tmp_path: Path) -> None:
    checkpoints = disk(tmp_path)
    checkpoints.offer(commit(1, model(1)), model(1))
    checkpoints.close(timeout=10)
    _truncate(tmp_path / "line-000000001.safetensors")
    said: list[str] = []
    assert CheckpointFiles(tmp_path).newest(SCHEMA, _logger("disk", said)) is None
    assert said[-1] == f"WARNING resume: no checkpoint in {tmp_path} can be used; the run starts anew"


def test_a_checkpoint_that_may_not_be_read_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = disk(tmp_path)
    checkpoints.offer(commit(1, model(1)), model(1))
    checkpoints.close(timeout=10)

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    said: list[str] = []
    assert CheckpointFiles(tmp_path).newest(SCHEMA, _logger("disk", said)) is None
    assert "line-000000001.safetensors is damaged or cannot be read" in said[0]
    assert "Permission denied" in said[0]


def test_only_the_newest_checkpoints_are_kept_and_the_newest_whole_one_is_read(tmp_path: Path) -> None:
    checkpoints = disk(tmp_path)
    for round_ in range(1, 6):
        checkpoints.offer(commit(round_, model(round_)), model(round_))
        eventually(lambda round_=round_: (tmp_path / f"line-{round_:09d}.json").exists(), f"round {round_}")
    checkpoints.close(timeout=10)
    assert len(list(tmp_path.iterdir())) == 2 * KEEP
    found = CheckpointFiles(tmp_path).newest(SCHEMA, _logger("disk", []))
    assert found is not None
    assert found[0] == commit(5, model(5))
    (tmp_path / "line-000000005.json").write_text("{")
    found = CheckpointFiles(tmp_path).newest(SCHEMA, _logger("disk", []))
    assert found is not None
    assert found[0].round == 4
    assert found[1].digest() == model(4).digest()


def test_checkpoints_that_are_passed_over_are_told_of(tmp_path: Path) -> None:
    checkpoints = disk(tmp_path)
    for round_ in (1, 2):
        checkpoints.offer(commit(round_, model(round_)), model(round_))
        eventually(lambda round_=round_: (tmp_path / f"line-{round_:09d}.json").exists(), f"round {round_}")
    checkpoints.close(timeout=10)
    (tmp_path / "line-000000001.json").write_text("{")
    record = tmp_path / "line-000000002.json"
    record.write_text(record.read_text().replace(model(2).digest(), model(3).digest()))
    said: list[str] = []
    assert CheckpointFiles(tmp_path).newest(SCHEMA, _logger("disk", said)) is None
    first, second, _ = said
    assert "another digest" in first
    assert "incomplete" in second


def test_a_clock_that_was_set_back_does_not_make_the_newest_checkpoint_an_old_one(tmp_path: Path) -> None:
    for round_ in range(1, 5):
        checkpoints = Checkpoints(
            CheckpointFiles(tmp_path), every=0, executor=ThreadExecutor(), logger=_logger("disk", [])
        )
        checkpoints.offer(commit(round_, model(round_)), model(round_))
        checkpoints.close(timeout=10)
        if round_ == KEEP:
            for record in tmp_path.glob("*.json"):
                later = record.stat().st_mtime_ns + 3600 * 10**9
                os.utime(record, ns=(later, later))
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == ["line-000000003", "line-000000004"]
    found = CheckpointFiles(tmp_path).newest(SCHEMA, _logger("disk", []))
    assert found is not None
    assert found[0].round == 4


def test_checkpoints_keep_their_distance_but_the_closing_one_is_always_written(tmp_path: Path) -> None:
    clock = ManualClock()
    checkpoints = Checkpoints(
        CheckpointFiles(tmp_path), every=30, executor=ThreadExecutor(clock), logger=_logger("disk", [])
    )

    def written() -> list[int]:
        return sorted(json.loads(path.read_text())["round"] for path in tmp_path.glob("*.json"))

    checkpoints.offer(commit(1, model(1)), model(1))
    eventually(lambda: written() == [1], "the first checkpoint")
    checkpoints.offer(commit(2, model(2)), model(2))
    clock.advance(31)
    checkpoints.offer(commit(3, model(3)), model(3))
    eventually(lambda: written() == [1, 3], "the third")
    checkpoints.offer(commit(4, model(4), closing=True), model(4))
    checkpoints.close(timeout=10)
    assert written() == [3, 4]


def test_tensors_of_one_name_are_all_kept(tmp_path: Path) -> None:
    twins = Schema((TensorSpec("w", (2,), "float32"), TensorSpec("w", (2,), "float32")))
    state = ModelState(twins, {"float32": np.array([1, 2, 3, 4], np.float32)}, [])
    write_model(tmp_path / "model.safetensors", state, {})
    read = read_model_file(tmp_path / "model.safetensors", twins)
    assert read is not None
    assert read.digest() == state.digest()


def test_a_full_disk_is_said_once_and_costs_no_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    lines: list[str] = []
    checkpoints = Checkpoints(
        CheckpointFiles(tmp_path / "file"), every=0, executor=ThreadExecutor(), logger=_logger("disk", lines)
    )
    for round_ in (1, 2):
        checkpoints.offer(commit(round_, model(round_)), model(round_))
        eventually(lambda round_=round_: any(f"round {round_} was not written" in line for line in lines), "a line")
    checkpoints.close(timeout=10)
    assert [line.split()[0] for line in lines] == ["ERROR", "DEBUG"]


def _fields(place: Path) -> dict[str, object]:
    found = CheckpointFiles(place).newest(SCHEMA, _logger("disk", []))
    assert found is not None
    return {name: getattr(found[0], name) for name in Commit.__dataclass_fields__}

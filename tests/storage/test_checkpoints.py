"""Committed models on disk: when they are written, which are kept, and which of them is read again."""

from __future__ import annotations

import json
import os
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from swarm.certification.statements import canonical
from swarm.clock import Clock, ManualClock
from swarm.config import resolve
from swarm.errors import ConfigurationError, ModelError
from swarm.executor import ThreadExecutor
from swarm.records import Best, Commit, Resumed, SyncState
from swarm.storage.checkpoints import KEEP, CheckpointFiles, Checkpoints
from swarm.storage.files import read_model_file, write_model
from swarm.storage.places import state_directory
from swarm.storage.training import Training
from swarm.tensors.state import Array, ModelState, Schema, TensorSpec
from swarm.testing.nodes import eventually
from swarm.testing.swarm import _logger

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
        closing=closing,
    )


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

    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.suffix == ".safetensors":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

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


def test_what_is_written_stays_in_memory_no_longer(tmp_path: Path) -> None:
    checkpoints = disk(tmp_path)
    last, moments = model(1), np.zeros(3)
    refs = [weakref.ref(last.segments["float32"]), weakref.ref(moments)]
    checkpoints.keep_training(Training(Resumed(epochs=0, batches=1, epoch_batches=1), {"moments": moments}))
    checkpoints.offer(commit(1, last), last)
    del last, moments
    eventually(lambda: not any(ref() is not None for ref in refs), "neither the model nor the training is in memory")
    assert (tmp_path / "training.safetensors").exists()
    checkpoints.close(timeout=10)


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
    assert [line.split()[0] for line in lines] == ["ERROR", "DEBUG"]
    checkpoints.offer(commit(3, model(3), closing=True), model(3))
    checkpoints.close(timeout=10)
    assert [line.split()[0] for line in lines[2:]] == ["DEBUG", "ERROR"]
    assert lines[-1].startswith(f"ERROR there is no checkpoint of round 3, the last one, in {tmp_path / 'file'}, ")
    assert "File exists" in lines[-1]


class Slow(ModelState):
    """Gives its arrays when the test lets it."""

    def __init__(self, value: float) -> None:
        super().__init__(SCHEMA, model(value).segments, [])
        self.begun, self.gate = threading.Event(), threading.Event()

    def arrays(self) -> Iterator[tuple[TensorSpec, Array]]:
        self.begun.set()
        assert self.gate.wait(30.0)
        return super().arrays()


def rounds(place: Path) -> list[int]:
    return sorted(json.loads(path.read_text())["round"] for path in place.glob("*.json"))


def test_a_slow_disk_gets_the_newest_model_next(tmp_path: Path) -> None:
    checkpoints = disk(tmp_path)
    slow = Slow(1)
    checkpoints.offer(commit(1, slow), slow)
    assert slow.begun.wait(30.0)
    for round_ in (2, 3):
        checkpoints.offer(commit(round_, model(round_)), model(round_))
    slow.gate.set()
    checkpoints.close(timeout=30)
    assert rounds(tmp_path) == [1, 3]


def test_a_disk_that_is_too_slow_at_the_end_is_named_with_the_newest_round(tmp_path: Path) -> None:
    lines: list[str] = []
    checkpoints = disk(tmp_path, lines)
    slow = Slow(7)
    checkpoints.offer(commit(7, slow), slow)
    assert slow.begun.wait(30.0)
    checkpoints.close(timeout=0)
    slow.gate.set()
    assert lines == [f"ERROR round 7 was not written to {tmp_path} within 0 s: does the disk hang?"]
    checkpoints.close(timeout=30)
    assert rounds(tmp_path) == [7]


@pytest.mark.parametrize("every", [30.0, 0.0])
def test_a_checkpoint_is_due_exactly_when_the_time_is_over(tmp_path: Path, every: float) -> None:
    clock = ManualClock(100.0)
    checkpoints = disk(tmp_path, every=every, clock=clock)
    checkpoints.offer(commit(1, model(1)), model(1))
    eventually(lambda: rounds(tmp_path) == [1], "the first checkpoint")
    clock.advance(every)
    checkpoints.offer(commit(2, model(2)), model(2))
    eventually(lambda: rounds(tmp_path) == [1, 2], "the second checkpoint")
    checkpoints.close(timeout=30)


def test_a_disk_that_fails_again_after_it_worked_is_reported_again(tmp_path: Path) -> None:
    place, lines = tmp_path / "place", []
    checkpoints = disk(place, lines)
    for round_, full in enumerate((True, True, False, True), 1):
        if place.exists():
            shutil.rmtree(place) if place.is_dir() else place.unlink()
        if full:
            place.write_text("in the way")
        checkpoints.offer(commit(round_, model(round_)), model(round_))
        if full:
            eventually(lambda count=round_: any(f"round {count} was" in line for line in lines), f"round {round_}")
        else:
            eventually(lambda count=round_: rounds(place) == [count], f"round {round_}")
    checkpoints.close(timeout=30)
    *before, last = lines
    assert [line.split(" was ")[0] for line in before] == ["ERROR round 1", "DEBUG round 2", "ERROR round 4"]
    assert last.startswith("ERROR there is no checkpoint of round 4, ")


def test_a_checkpoint_made_before_the_clock_was_set_back_is_the_older_one(tmp_path: Path) -> None:
    """The new one is a nanosecond younger, also where both have the same time."""
    for round_ in (1, 2):
        checkpoints = disk(tmp_path)
        checkpoints.offer(commit(round_, model(round_)), model(round_))
        checkpoints.close(timeout=30)
        if round_ == 1:
            first = tmp_path / "line-000000001.json"
            later = first.stat().st_mtime_ns + 3601 * 10**9
            os.utime(first, ns=(later, later))
    assert (tmp_path / "line-000000002.json").stat().st_mtime_ns == later + 1
    found = CheckpointFiles(tmp_path).newest(SCHEMA, _logger("disk", []))
    assert found is not None
    assert found[0] == commit(2, model(2))


def test_a_checkpoint_of_another_model_is_refused_by_file(tmp_path: Path) -> None:
    checkpoints = disk(tmp_path)
    checkpoints.offer(commit(1, model(1)), model(1))
    checkpoints.close(timeout=30)
    other = Schema((TensorSpec("w", (5,), "float32"),))
    with pytest.raises(
        ConfigurationError, match=r"resume: .*line-000000001.safetensors contains another model .*'w' is"
    ):
        CheckpointFiles(tmp_path).newest(other, _logger("disk", []))


def test_an_older_checkpoint_is_read_where_the_newest_has_no_model(tmp_path: Path) -> None:
    checkpoints = disk(tmp_path)
    for round_ in (1, 2):
        checkpoints.offer(commit(round_, model(round_)), model(round_))
        eventually(lambda round_=round_: round_ in rounds(tmp_path), f"round {round_}")
    checkpoints.close(timeout=30)
    (tmp_path / "line-000000002.safetensors").unlink()
    said: list[str] = []
    found = CheckpointFiles(tmp_path).newest(SCHEMA, _logger("disk", said))
    assert found is not None
    assert found[0].round == 1
    assert said == [f"WARNING resume: checkpoint {tmp_path / 'line-000000002.json'} is incomplete and is skipped"]


def test_without_checkpoints_nothing_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    assert CheckpointFiles(tmp_path / "nowhere").newest(SCHEMA, _logger("disk", said)) is None
    assert said == []


@pytest.mark.parametrize(
    "change",
    [
        *({"round": None}, {"more": 1}, {"members": 3}, {"sync": 4}, {"sync": {"reference": 1}}),
        *(
            {"round": "1"},
            {"round": -1},
            {"weights": [2**63]},
            {"weights": [True]},
            {"closing": 0},
            {"done": 1},
            {"digest": 4},
        ),
        *({"members": "ab"}, {"group": [1]}, {"contributors": ["\x1b[31m"]}, {"lineage": "\ud800"}),
        *({"sync": {"interval": 1.5}}, {"sync": {"interval": 1, "reference": "low"}}),
    ],
)
def test_a_record_that_is_no_commit_is_passed_over(tmp_path: Path, change: dict[str, object]) -> None:
    checkpoints = disk(tmp_path)
    checkpoints.offer(commit(1, model(1)), model(1))
    checkpoints.close(timeout=30)
    record = tmp_path / "line-000000001.json"
    fields = json.loads(record.read_text()) | change
    record.write_bytes(
        canonical({name: value for name, value in fields.items() if name != "round" or value is not None})
    )
    said: list[str] = []
    assert CheckpointFiles(tmp_path).newest(SCHEMA, _logger("disk", said)) is None
    assert "is skipped: its record is incomplete or damaged" in said[0]


def test_checkpoints_are_kept_apart_by_session_and_peer_inside_the_model_directory(tmp_path: Path) -> None:
    names = {"model_name": "heart v1", "name": "clinic a", "model_dir": tmp_path, "listen": "127.0.0.1:0"}
    settings = resolve(names, environment={}, directory=tmp_path).settings
    assert state_directory(settings) == tmp_path / "swarm-state" / "heart v1" / "clinic a"
    with pytest.raises(ConfigurationError, match="model_dir is not set"):
        state_directory(replace(settings, model_dir=None))


def test_the_best_model_is_stored_once_and_as_long_as_a_checkpoint_names_it(tmp_path: Path) -> None:
    files = CheckpointFiles(tmp_path)
    lines: list[str] = []
    first, second = model(1), model(2)

    def write(round_: int, best: ModelState) -> None:
        record = replace(commit(round_, model(round_)), best=Best(round_, best.digest(), 0.5))
        files.write_best(best.digest(), best)
        files.write(record, model(round_), None)

    for round_ in (1, 2):
        write(round_, first)
    written = (tmp_path / f"best-{first.digest()}.safetensors").stat().st_mtime_ns
    write(3, second)
    assert (tmp_path / f"best-{first.digest()}.safetensors").stat().st_mtime_ns == written
    found = files.best(first.digest(), SCHEMA, _logger("disk", lines))
    assert found is not None
    assert found.digest() == first.digest()
    write(4, second)
    assert [path.name for path in tmp_path.glob("best-*")] == [f"best-{second.digest()}.safetensors"]
    assert files.best(first.digest(), SCHEMA, _logger("disk", lines)) is None
    assert "other peers are asked for it" in lines[-1]


def test_a_best_model_that_was_changed_on_disk_is_not_used(tmp_path: Path) -> None:
    files, best = CheckpointFiles(tmp_path), model(1)
    write_model(tmp_path / f"best-{best.digest()}.safetensors", model(2), {})
    lines: list[str] = []
    assert files.best(best.digest(), SCHEMA, _logger("disk", lines)) is None
    assert "is damaged" in lines[-1]

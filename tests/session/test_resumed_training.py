"""A resumed run knows which epochs and batches were done, and gives optimizers and schedules their state back."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarm.config import Settings
from swarm.errors import ModelError
from swarm.records import NOT_RESUMED, Resumed
from swarm.session import resumed_before
from swarm.storage.checkpoints import CheckpointFiles
from swarm.tensors import TrainingState
from swarm.testing.nodes import eventually
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

EPOCH = 3
"""Batches of an epoch; a round is made every two."""


class Schedule(TrainingState):
    """A learning rate that falls with each batch."""

    def __init__(self) -> None:
        self.steps = 0
        self.read_at: list[int] = []

    def read(self) -> Any:
        self.read_at.append(self.steps)
        return {"steps": self.steps}

    def write(self, state: Any) -> None:
        self.steps = state["steps"]


class Site:
    """One peer that trains in epochs, as a script does."""

    def __init__(
        self, swarm: MemorySwarm, name: str, place: Path | None, schedule: Any = None, **settings: Any
    ) -> None:
        self.schedule = schedule or Schedule()
        self.peer: SwarmPeer = swarm.peer(
            name, {"w": np.zeros(3, np.float32)}, training=self.schedule, model_dir=place, **settings
        )

    def train(self, epochs: float, *, end: bool = False) -> None:
        session = self.peer.session
        session.begin()
        first, skip = session.resumed.epochs, session.resumed.epoch_batches
        last = round(epochs * EPOCH)
        for batch in range(first * EPOCH + skip, last):
            self.peer.arrays["w"] += 1.0
            self.schedule.steps += 1
            self.peer.advance()
            if (batch + 1) % EPOCH == 0:
                session.epoch_end(batch // EPOCH)
        if end:
            session.end()


def sites(place: Path, **settings: Any) -> list[Site]:
    swarm = MemorySwarm(
        **{"sync_interval": 2, "world_size": 2, "failure_timeout": 1.0, "checkpoint_seconds": 0} | settings
    )
    return [Site(swarm, name, place / name) for name in ("ada", "bob")]


def stop(peers: list[Site]) -> None:
    for each in peers:
        each.peer.session.abort("power cut")


def ran(peers: list[Site], epochs: float, *, end: bool = False) -> list[Site]:
    together(*(partial(each.train, epochs, end=end) for each in peers))
    return peers


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """Both sites were stopped in the middle of the second epoch, after five batches and two rounds."""
    stop(ran(sites(tmp_path), 5 / EPOCH))
    return tmp_path


def test_a_run_that_is_not_resumed_has_done_nothing(tmp_path: Path) -> None:
    peers = ran(sites(tmp_path), 2, end=True)
    assert [each.peer.session.resumed for each in peers] == [NOT_RESUMED] * 2
    assert [each.peer.session.swarm_batches for each in peers] == [0, 0]


def test_a_resumed_run_goes_on_after_the_batches_of_its_checkpoint(stopped: Path) -> None:
    peers = sites(stopped, resume=True)
    ran(peers, 3, end=True)
    done = [each.peer.session.resumed for each in peers]
    assert done == [Resumed(round=2, epochs=1, batches=4, epoch_batches=1)] * 2
    assert [each.schedule.steps for each in peers] == [9, 9], "as if nothing had stopped them"
    assert [each.peer.arrays["w"].tolist() for each in peers] == [[9.0] * 3] * 2
    said = "INFO resuming after 1 epochs and 1 batches of the next one, 4 batches in all"
    assert said in peers[0].peer.lines


def test_a_run_that_is_stopped_twice_counts_all_of_its_batches(stopped: Path) -> None:
    peers = ran(sites(stopped, resume=True), 3)  # 5 batches, of which 4 are merged in two rounds
    stop(peers)
    peers = ran(sites(stopped, resume=True), 4, end=True)
    done = peers[0].peer.session.resumed
    assert (done.epochs, done.batches, done.epoch_batches) == (2, 8, 2)
    assert [each.schedule.steps for each in peers] == [12, 12]


def test_a_run_that_is_stopped_before_its_first_round_has_lost_nothing(stopped: Path) -> None:
    peers = ran(sites(stopped, resume=True), 5 / EPOCH)
    stop(peers)
    assert resumed_of(stopped, "ada").batches == 4
    assert resumed_of(stopped, "ada").epochs == 1


def resumed_of(place: Path, name: str, **settings: Any) -> Resumed:
    return resumed_before(Settings(**{"name": name, "model_dir": place / name, "resume": True} | settings))


def test_what_will_be_resumed_is_known_before_the_run(stopped: Path) -> None:
    assert resumed_of(stopped, "ada") == Resumed(round=2, epochs=1, batches=4, epoch_batches=1)
    for settings in ({"resume": False}, {"loopback": True}, {"model_name": "other"}, {"model_dir": None}):
        assert resumed_of(stopped, "ada", **settings) == NOT_RESUMED
    place = stopped / "ada" / "swarm-state" / "swarm_model" / "ada" / "training.safetensors"
    place.write_bytes(b"damaged")
    assert resumed_of(stopped, "ada") == NOT_RESUMED


def test_a_closed_run_is_not_gone_on_with(stopped: Path) -> None:
    ran(sites(stopped, resume=True), 3, end=True)
    assert resumed_of(stopped, "ada") == NOT_RESUMED
    peers = ran(sites(stopped, resume=True), 1, end=True)
    assert peers[0].peer.session.resumed == NOT_RESUMED
    assert peers[0].schedule.steps == EPOCH


def test_a_run_that_begins_anew_forgets_an_earlier_one(stopped: Path) -> None:
    peers = sites(stopped)
    together(*(each.peer.session.begin for each in peers))
    stop(peers)
    assert resumed_of(stopped, "ada") == Resumed(round=0)


def test_the_state_is_read_only_for_checkpoints_that_are_written(tmp_path: Path) -> None:
    peers = ran(sites(tmp_path, checkpoint_seconds=3600), 3)
    stop(peers)
    assert peers[0].schedule.read_at == [0]
    assert resumed_of(tmp_path, "ada") == Resumed(round=0)


def test_a_damaged_file_costs_the_progress_and_not_the_model(stopped: Path) -> None:
    for name in ("ada", "bob"):
        (stopped / name / "swarm-state" / "swarm_model" / name / "training.safetensors").write_bytes(b"damaged")
    peers = ran(sites(stopped, resume=True), 1, end=True)
    assert peers[0].peer.session.resumed == NOT_RESUMED
    assert peers[0].peer.arrays["w"].tolist() == [4.0 + EPOCH] * 3
    assert any("the training begins at its first epoch, as" in line for line in peers[0].peer.lines)


class Broken(Schedule):
    """The script has another optimizer now, and one whose state cannot be read."""

    def read(self) -> Any:
        raise RuntimeError("no state")

    def write(self, state: Any) -> None:
        raise ModelError("`optimizer` was Adam when the checkpoint was written, and is SGD now")


def test_a_state_that_does_not_fit_is_told_of_and_training_goes_on(stopped: Path) -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2, failure_timeout=1.0, checkpoint_seconds=0, resume=True)
    peers = [Site(swarm, name, stopped / name, Broken()) for name in ("ada", "bob")]
    ran(peers, 2, end=True)
    assert peers[0].peer.session.resumed.epochs == 1
    lines = [line for line in peers[0].peer.lines if line.startswith("WARNING")]
    assert any("is not loaded: `optimizer` was Adam" in line for line in lines)
    assert len([line for line in lines if "RuntimeError: no state" in line]) == 1


def test_a_state_that_no_file_can_hold_is_told_of_and_the_progress_is_kept(tmp_path: Path) -> None:
    class Odd(Schedule):
        def read(self) -> Any:
            return {"scale": print}

    swarm = MemorySwarm(sync_interval=2, world_size=2, failure_timeout=1.0, checkpoint_seconds=0)
    peers = ran([Site(swarm, name, tmp_path / name, Odd()) for name in ("ada", "bob")], 2)
    stop(peers)
    assert resumed_of(tmp_path, "ada").batches == 6
    said = [line for line in peers[0].peer.lines if "['scale'] is a builtin_function_or_method" in line]
    assert [line.split()[0] for line in said][:2] == ["WARNING", "DEBUG"]


def test_who_comes_late_knows_how_far_the_others_are(tmp_path: Path) -> None:
    swarm = MemorySwarm(sync_interval=2, min_peers=2, failure_timeout=1.0)
    early = [Site(swarm, name, None) for name in ("ada", "bob")]
    ran(early, 3)  # nine batches, four rounds
    late = Site(swarm, "cyd", None)
    late.peer.session.begin()
    assert late.peer.session.resumed == NOT_RESUMED
    assert late.peer.session.swarm_batches == 8
    assert early[0].peer.session.swarm_batches == 0
    stop([*early, late])


def test_who_comes_back_knows_what_it_has_done_and_how_far_the_others_are(tmp_path: Path) -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=3, min_peers=2, failure_timeout=1.0, checkpoint_seconds=0)
    peers = ran([Site(swarm, name, tmp_path / name) for name in ("ada", "bob", "cyd")], 2 / EPOCH)
    cyd = peers.pop()
    cyd.peer.session.abort("power cut")
    eventually(lambda: all("cyd" not in each.peer.live for each in peers), "the others know")
    together(*(partial(go_on, each, 4) for each in peers))
    back = Site(swarm, "cyd", tmp_path / "cyd", resume=True)
    back.peer.session.begin()
    assert back.peer.session.resumed == Resumed(round=1, epochs=0, batches=2, epoch_batches=2)
    assert back.peer.session.swarm_batches == 6
    assert back.peer.arrays["w"].tolist() == [6.0] * 3
    stop([*peers, back])


def go_on(site: Site, batches: int) -> None:
    for _ in range(batches):
        site.peer.arrays["w"] += 1.0
        site.peer.advance()


def test_a_checkpoint_without_progress_is_of_an_earlier_version(stopped: Path) -> None:
    for name in ("ada", "bob"):
        state = stopped / name / "swarm-state" / "swarm_model" / name
        CheckpointFiles(state).write_training(None)
    peers = ran(sites(stopped, resume=True), 1, end=True)
    assert peers[0].peer.session.resumed == NOT_RESUMED
    assert not any("training begins at its first epoch" in line for line in peers[0].peer.lines)
    shutil.rmtree(stopped)

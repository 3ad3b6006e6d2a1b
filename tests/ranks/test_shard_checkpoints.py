"""Checkpoints of sites of which each process has its own shard of the model."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from swarm.errors import ConfigurationError, ModelError
from swarm.tensors.model import ModelPort
from swarm.tensors.state import Schema, TensorKind
from swarm.tensors.training import TrainingState
from swarm.testing.nodes import eventually
from tests.ranks.sites import ArrayShard, Rank, Sites, all_of

KINDS = {"mean": TensorKind.MEAN}
NAMES = ("ada", "bob")


class OwnRows(ArrayShard):
    """The site keeps its own values of a weight that is sharded, as with ``normalization="fedbn"``."""

    def whole(self) -> Schema:
        return Schema(tuple(replace(spec, kept=spec.name == "gamma") for spec in super().whole().tensors))


class OwnGamma(ModelPort):
    """The same where one process has the whole model."""

    def __init__(self, model: ModelPort) -> None:
        self._model = model

    def schema(self) -> Schema:
        specs = self._model.schema().tensors
        return Schema(tuple(replace(spec, kept=spec.name == "gamma") for spec in specs))

    def read(self, into) -> None:
        self._model.read(into)

    def write(self, state) -> None:
        self._model.write(state)


def arrays(value: float) -> dict[str, np.ndarray]:
    return {
        "w": np.arange(35, dtype=np.float32).reshape(7, 5) + np.float32(value),
        "gamma": np.full(4, value, np.float32),
        "scale": np.array(value, np.float32),
        "mean": np.full(5, value, np.float32),
    }


class Optimizer(TrainingState):
    """A number of steps, and a momentum that is another one in each process."""

    def __init__(self, rank: int, fails: str = "") -> None:
        self.rank, self.fails = rank, fails
        self.steps, self.momentum = 0, np.zeros(3, np.float32)

    def step(self) -> None:
        self.steps += 1
        self.momentum += self.rank + 1

    def read(self):
        if self.fails == "read":
            raise ValueError("no state today")
        return {"steps": self.steps, "m": self.momentum.copy(), "odd": object() if self.fails == "odd" else None}

    def write(self, state):
        if self.fails == "write":
            raise ModelError("it is of another optimizer")
        self.steps, self.momentum = state["steps"], state["m"]


class Place:
    """Sites with a model directory each, which run more than once."""

    def __init__(self, directory: Path, **settings: object) -> None:
        self._directory = directory
        self._settings = {
            "sync_interval": 2,
            "world_size": 2,
            "checkpoint_seconds": 0,
            "failure_timeout": 5.0,
        } | settings
        self.sites = Sites(**self._settings)

    def again(self) -> None:
        """A new network, as after a power cut."""
        self.sites = Sites(**self._settings)

    def of_rank(self, name: str, rank: int) -> Path:
        """The directory of the checkpoints of a process."""
        (found,) = (self._directory / name / "swarm-state").glob("*/*/")
        return found / f"rank-{rank}" if rank else found

    def newest(self, name: str) -> str:
        return max(self.of_rank(name, 0).glob("*.json")).with_suffix(".safetensors").name

    def cut(self, name: str, rounds: int = 3) -> Callable[[Rank], Rank]:
        """A run that ends as by a power cut, once the checkpoints of all rounds are written."""

        def program(rank: Rank) -> Rank:
            here = self._directory / name / "swarm-state"
            rank.session.begin()
            for number in range(1, rounds + 1):
                rank.go_on(2, step)
                record = f"*/*/*-{number:09d}.json"  # not those of other processes, which may be removed meanwhile
                eventually(lambda record=record: [*here.glob(record)], "there is a checkpoint")
            rank.session.abort("power cut")
            return rank

        return program

    def site(self, name: str, *, fails: str = "", shards: bool = True, **settings: object):
        given = {"kinds": KINDS, "model_dir": self._directory / name, **settings}
        if shards:
            given = {"shard": OwnRows, "exchange_shards": True, **given}
        self.optimizers = [Optimizer(rank, fails if rank else "") for rank in range(4)]
        mine = self.optimizers
        return self.sites.site(name, arrays(1 + NAMES.index(name)), training=lambda rank: mine[rank], **given)


def step(rank: Rank, _: int) -> None:
    number = rank.group.rank
    rank.model.arrays["w"] += np.float32(0.25)
    rank.model.arrays["gamma"] += np.float32(number + 1)
    rank.session._parts.training.step()


def resumed(rank: Rank):
    """What a process has when it has begun again, and the process once its run is over."""
    rank.session.begin()
    begun = {name: array.copy() for name, array in rank.model.arrays.items()}
    optimizer = rank.session._parts.training
    found = (begun, rank.session.round, optimizer.steps, optimizer.momentum.copy())
    rank.go_on(4, step)
    rank.session.end()
    return rank, *found


def rows(rank: int, size: int, name: str) -> slice:
    most = -(-len(arrays(0)[name]) // size)
    return slice(most * rank, most * (rank + 1))


def whole(found: list, name: str, at: int | None = None) -> np.ndarray:
    """A tensor of a site: from what its processes began with, or as they have it now."""
    given = [each[1] if at is not None else each[0].model.arrays for each in found]
    return np.concatenate([mine[name][rows(rank, len(given), name)] for rank, mine in enumerate(given)])


ALL = {"shards": False, "has_all": True, "exchange_shards": 2, "port": lambda _, model: OwnGamma(model)}
"""A site that has all shards in rank 0."""


def run_and_cut(place: Place, rounds: int = 3, **settings: object) -> list[Rank]:
    return all_of(*((place.site(name, **settings), place.cut(name, rounds)) for name in NAMES))


@pytest.mark.parametrize("settings", [{}, {"outer": "nesterov"}, {"keep_best": True}])
def test_sites_that_all_ended_go_on_from_their_shards(tmp_path: Path, settings) -> None:
    place = Place(tmp_path, **settings)
    run_and_cut(place)
    models = [each.name for name in NAMES for each in place.of_rank(name, 1).glob("*-0*.safetensors")]
    assert models
    place.again()
    ada, bob = place.site("ada", resume=True), place.site("bob", resume=True)
    *found, one, other = all_of((ada, resumed), (bob, resumed))
    rounds = {each[2] for each in (*found, one, other)}
    assert len(rounds) == 1
    assert rounds.pop() > 0
    assert np.array_equal(whole(found, "w", at=0), whole([one, other], "w", at=0))
    assert np.array_equal(whole(found, "w"), whole([one, other], "w"))
    assert not np.array_equal(whole(found, "w", at=0), whole(found, "w"))
    for each in (*found, one, other):
        rank, steps, momentum = each[0], each[3], each[4]
        assert steps == rank.session.resumed.batches > 0
        assert (momentum == steps * (rank.group.rank + 1)).all()


def test_what_a_site_keeps_for_itself_is_that_of_each_process(tmp_path: Path) -> None:
    place = Place(tmp_path)
    before = run_and_cut(place)
    place.again()
    ada, bob = place.site("ada", resume=True), place.site("bob", resume=True)
    after = all_of((ada, resumed), (bob, resumed))
    for site in (slice(2), slice(2, 4)):
        gamma = whole([(rank,) for rank in before[site]], "gamma")
        assert gamma[3] - gamma[0] == 6
        assert np.array_equal(whole(after[site], "gamma", at=0), gamma)


def is_gone(place: Place, name: str) -> None:
    (place.of_rank(name, 1) / place.newest(name)).unlink()


def cut_short(place: Place, name: str) -> None:
    path = place.of_rank(name, 1) / place.newest(name)
    path.write_bytes(path.read_bytes()[:-8])


def no_record(place: Place, name: str) -> None:
    """As after a crash between the shards and the record."""
    (place.of_rank(name, 0) / place.newest(name)).with_suffix(".json").unlink()


def of_another_round(place: Place, name: str) -> None:
    older, newer = sorted(path.stem for path in place.of_rank(name, 0).glob("*.json"))
    files = place.of_rank(name, 1)
    shutil.copy(files / f"{older}.safetensors", files / f"{newer}.safetensors")


@pytest.mark.parametrize("damage", [is_gone, cut_short, no_record, of_another_round])
def test_a_checkpoint_that_is_not_whole_leaves_the_one_before_it(tmp_path: Path, damage) -> None:
    place = Place(tmp_path)
    run_and_cut(place, rounds=4)
    for name in NAMES:
        damage(place, name)
    place.again()
    ada, bob = place.site("ada", resume=True), place.site("bob", resume=True)
    *found, one, other = all_of((ada, resumed), (bob, resumed))
    assert np.array_equal(whole(found, "w", at=0), whole([one, other], "w", at=0))
    assert np.array_equal(whole(found, "w"), whole([one, other], "w"))
    said = "\n".join(found[0][0].lines)
    assert "resuming from round 3" in said
    assert ("skipped" in said) == (damage is not no_record), said


def test_a_site_that_resumes_while_the_others_go_on_heals_each_shard(tmp_path: Path) -> None:
    place = Place(tmp_path, min_peers=1, world_size=2, straggler_timeout=5.0)
    gone, ahead, back = threading.Event(), threading.Event(), threading.Event()

    def ada(rank: Rank) -> None:
        place.cut("ada")(rank)
        if rank.group.rank == 0:
            gone.set()

    def bob(rank: Rank):
        rank.session.begin()
        rank.go_on(6, step)
        gone.wait(20)
        rank.go_on(4, step)
        ahead.set()
        # Both processes make as many steps: those until the first one knows that the other site is there.
        while not rank.group.gather(bytes([back.is_set()]))[0][0]:
            rank.go_on(2, step)
        rank.go_on(4, step)
        rank.session.end()
        return rank, None

    def ada_again(rank: Rank):
        ahead.wait(20)
        rank.session.begin()
        if rank.group.rank == 0:
            back.set()
        rank.go_on(2, step)
        rank.session.end()
        return rank, None

    first = place.site("ada")
    second, sites = place.site("bob"), place.site("ada", resume=True)
    _, _, b0, b1, a0, a1 = all_of((first, ada), (second, bob), (sites, ada_again))
    assert np.array_equal(whole([a0, a1], "w"), whole([b0, b1], "w"))
    assert any("resuming from round" in line for line in a0[0].lines)


def refused(message: str) -> Callable[[Rank], None]:
    def program(rank: Rank) -> None:
        with pytest.raises(ConfigurationError, match=message):
            rank.session.begin()

    return program


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ({}, {"size": 3}, r"divided otherwise here \(3 shards, .*exchange as many shards as in that run"),
        ({"shards": False}, {}, "has the whole model, and with exchange_shards a run needs its shards"),
        ({}, {"shards": False}, r"has a shard of the model \(2 shards, .*set exchange_shards again, to as many shards"),
    ],
)
def test_checkpoints_of_another_layout_are_refused(tmp_path: Path, before, after, message: str) -> None:
    place = Place(tmp_path)
    run_and_cut(place, **before)
    place.again()
    all_of((place.site("ada", resume=True, **after), refused(message)))


def test_all_processes_have_a_model_directory_or_none_has(tmp_path: Path) -> None:
    ada = Place(tmp_path).site("ada", per_rank=lambda rank: {"model_dir": None} if rank else {})
    all_of((ada, refused("rank 1 of this site has model_dir=none, and rank 0 has model_dir=a directory")))


def test_a_process_that_cannot_write_costs_the_checkpoint_and_not_the_run(tmp_path: Path) -> None:
    place = Place(tmp_path, world_size=1, min_peers=1)
    blocked = tmp_path / "ada" / "swarm-state" / "swarm_model" / "ada"
    blocked.mkdir(parents=True)
    (blocked / "rank-1").write_text("no directory")

    def program(rank: Rank) -> Rank:
        rank.train(6, step)
        return rank

    one, _ = all_of((place.site("ada"), program))
    assert any("ERROR" in line and "rank 1 of this site" in line for line in one.lines), one.lines
    assert not list(blocked.glob("*.json"))


@pytest.mark.parametrize(
    ("fails", "when", "reason"),
    [
        ("read", "first", "rank 1 of this site: ValueError: no state today"),
        ("odd", "first", r"rank 1 of this site: \['odd'\] is a object"),
        ("write", "second", "rank 1 of this site: ModelError: it is of another optimizer"),
    ],
)
def test_a_state_that_cannot_be_had_is_told_and_the_model_goes_on(tmp_path: Path, fails, when, reason) -> None:
    place = Place(tmp_path, world_size=1, min_peers=1)
    one, _ = all_of((place.site("ada", fails=fails if when == "first" else ""), place.cut("ada")))
    place.again()
    again, other = all_of((place.site("ada", fails=fails if when == "second" else "", resume=True), resumed))
    text = "\n".join((one if when == "first" else again[0]).lines)
    assert re.search(reason, text), text
    assert again[2] > 0
    assert other[3] == 0 or when == "second"


def test_files_of_earlier_rounds_are_removed_in_each_process(tmp_path: Path) -> None:
    place = Place(tmp_path, world_size=1, min_peers=1)

    def program(rank: Rank) -> None:
        rank.session.begin()
        rank.go_on(20, step)
        rank.session.end()

    all_of((place.site("ada"), program))
    here = {path.name for path in place.of_rank("ada", 0).glob("*-0*.safetensors")}
    there = {path.name for path in place.of_rank("ada", 1).glob("*.safetensors")}
    assert len(here) == 2
    assert {name for name in there if not name.startswith("kept-")} == here
    assert len(there) == 3, "the model is closed: no state of a training is needed"


@pytest.mark.parametrize(("after", "left"), [({}, {"rank-1", "rank-2"}), ({"shards": False}, {"rank-2"})])
def test_files_of_processes_that_a_site_no_longer_has_are_removed(tmp_path: Path, after, left) -> None:
    place = Place(tmp_path, world_size=1, min_peers=1)
    all_of((place.site("ada", size=4), place.cut("ada")))
    there = [place.of_rank("ada", rank) for rank in (1, 2, 3)]
    assert all(any(each.glob("*-0*.safetensors")) for each in there)
    (there[1] / "mine.safetensors").write_text("of the user")
    place.again()
    all_of((place.site("ada", **after), place.cut("ada", rounds=1)))
    assert {each.name for each in there if each.exists()} == left
    assert [path.name for path in there[1].iterdir()] == ["mine.safetensors"]


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("settings", [{}, {"outer": "nesterov"}, {"keep_best": True}])
def test_a_site_with_all_shards_goes_on_from_its_checkpoint(tmp_path: Path, settings, size: int) -> None:
    place = Place(tmp_path, **settings)
    kinds = {"ada": {}, "bob": {**ALL, "size": size}}
    before = all_of(*((place.site(name, **kinds[name]), place.cut(name)) for name in NAMES))
    gamma = before[2].model.arrays["gamma"].copy()
    place.again()
    sites = [place.site(name, resume=True, **kinds[name]) for name in NAMES]
    found = all_of(*((site, resumed) for site in sites))
    assert {each[2] for each in found} == {found[0][2]}
    for rank, begun, round_, steps, momentum in found[2:]:
        assert round_ > 0
        assert steps == rank.session.resumed.batches > 0
        # rank 0 has the state of the training, and gives it to the other processes, which have a copy of the model
        assert (momentum == steps).all()
        assert np.array_equal(begun["gamma"], gamma)
        assert np.array_equal(begun["w"], whole(found[:2], "w", at=0))
        assert np.array_equal(rank.model.arrays["w"], whole(found[:2], "w"))


@pytest.mark.parametrize(("before", "after"), [({}, {**ALL, "size": 1}), ({**ALL, "size": 1}, {})])
def test_shards_are_resumed_by_whoever_has_them_now_without_the_state_of_the_training(tmp_path, before, after) -> None:
    place = Place(tmp_path, world_size=1, min_peers=1)
    all_of((place.site("ada", **before), place.cut("ada")))
    place.again()
    found = all_of((place.site("ada", resume=True, **after), resumed))
    lines = "\n".join(found[0][0].lines)
    assert "resuming from round 3" in lines
    assert re.search("is not loaded: it is that of (one process|several processes)", lines)
    assert [each[3] for each in found] == [0] * len(found)
    begun = [each[1]["w"] for each in found]
    here = begun[0] if len(begun) == 1 else whole(found, "w", at=0)
    assert np.array_equal(here, arrays(1)["w"] + np.float32(1.5))

"""Sites that have all shards of the model in rank 0, among sites of which each process exchanges its own."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from swarm.errors import AddressError, ConfigurationError, IncompatiblePeerError, RanksError
from swarm.ranks.layout import Layout
from swarm.ranks.shard_peer import ShardPeer
from swarm.ranks.shard_store import ShardStore
from swarm.tensors.model import Evaluation, ModelPort
from swarm.tensors.state import ModelState, Schema, TensorKind, TensorSpec
from tests.ranks.sharded import EACH, KINDS, arrays, equal, step, trained, whole
from tests.ranks.sites import ArrayShard, Rank, Sites, all_of


def all_in_one(shards: int) -> dict[str, object]:
    return {"kinds": KINDS, "has_all": True, "exchange_shards": shards}


@pytest.mark.parametrize(("shards", "size"), [(2, 1), (3, 1), (2, 2), (2, 3)])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"overlap": True},
        {"outer": "nesterov"},
        {"codec": "int8"},
        {"normalize_steps": True},
        {"normalization": "pooled", "checkin_model_on_train_end": "active"},
    ],
)
def test_a_site_with_all_shards_ends_with_the_model_of_those_that_have_one_each(shards, size, settings) -> None:
    sites = Sites(world_size=2, sync_interval=3, **settings)
    first = sites.site("ada", arrays(1), size=shards, **EACH)
    second = sites.site("bob", arrays(5), size=size, **all_in_one(shards))
    ranks = all_of((first, trained(11)), (second, trained(9)))
    ada, bob = ranks[:shards], ranks[shards:]
    names = [name for name in arrays(0) if "normalization" in settings or name not in ("mean", "n")]
    for rank in bob:
        assert rank.session.over
        assert equal(whole(ada), rank.model.arrays, *names)
    assert not equal(whole(ada), arrays(1), "w", "h", "one")


def test_the_shards_of_a_site_share_its_limit_of_what_is_sent() -> None:
    sites = Sites(world_size=2, sync_interval=2)
    ada = sites.site("ada", arrays(1), size=3, max_mbit=["20@07:00-19:30", "100"], **EACH)
    bob = sites.site("bob", arrays(5), size=1, max_mbit="7", **all_in_one(3))
    all_of((ada, trained(4)), (bob, trained(4)))
    limits = {name: [each.max_mbit for each in sites.asked if each.name == name] for name in ("ada", "bob")}
    assert limits == {"ada": [("6.666@07:00-19:30", "33.333")] * 3, "bob": [("2.333",)] * 3}


@pytest.mark.parametrize(("size", "given"), [(3, EACH), (1, all_in_one(3))])
def test_a_limit_that_is_too_low_for_so_many_shards_is_refused_in_all_processes(size, given) -> None:
    def begin(rank: Rank) -> str:
        with pytest.raises(
            ConfigurationError, match="max_mbit=5 is too low: 3 shards .* allowed is 6 or more"
        ) as caught:
            rank.session.begin()
        return str(caught.value)

    site = Sites(world_size=2).site("ada", arrays(1), size=size, max_mbit=5, **given)
    assert len(all_of((site, begin))) == size


class Unborrowed(ModelPort):
    """A model whose memory cannot be read directly, as on a GPU."""

    def __init__(self, model: ModelPort) -> None:
        self.schema, self._model = model.schema, model

    def schema(self) -> Schema:
        raise AssertionError("that of the model takes its place")

    def read(self, into: ModelState) -> None:
        self._model.read(into)

    def write(self, state: ModelState) -> None:
        self._model.write(state)


@pytest.mark.parametrize(
    "given", [{"sharded": True, "size": 3}, {"port": lambda _, model: Unborrowed(model), "size": 1}]
)
def test_a_model_that_cannot_be_borrowed_is_read_and_set_all_the_same(given) -> None:
    sites = Sites(world_size=2, sync_interval=2, normalization="pooled")
    ada, bob = sites.site("ada", arrays(1), **EACH), sites.site("bob", arrays(5), **all_in_one(2), **given)
    ranks = all_of((ada, trained(5)), (bob, trained(4)))
    for rank in ranks[2:]:
        assert equal(whole(ranks[:2]), rank.model.arrays)


@pytest.mark.parametrize("late_has_all", [True, False])
def test_a_site_that_comes_late_gets_each_shard_from_whoever_has_it(late_has_all: bool) -> None:
    sites = Sites(min_peers=1, sync_interval=2, straggler_timeout=0.5, normalization="pooled")
    go, come = threading.Event(), threading.Event()

    def first(rank: Rank):
        rank.session.begin()
        rank.go_on(4, step)
        come.set()
        go.wait(20)
        begun = {name: array.copy() for name, array in rank.model.arrays.items()}
        rank.session.end()
        return rank, begun

    def late(rank: Rank):
        come.wait(20)
        rank.session.begin()
        begun = {name: array.copy() for name, array in rank.model.arrays.items()}
        go.set()
        rank.session.end()
        return rank, begun

    kinds = [EACH, all_in_one(2)] if late_has_all else [all_in_one(2), EACH]
    sizes = [2, 1] if late_has_all else [1, 2]
    ada, bob = (
        sites.site(name, arrays(value), size=size, **kind)
        for name, value, size, kind in zip(("ada", "bob"), (1, 9), sizes, kinds, strict=True)
    )
    found = all_of((ada, first), (bob, late))
    each, (one,) = (found[:2], found[2:]) if late_has_all else (found[1:], found[:1])
    assert equal(whole([rank for rank, _ in each]), one[0].model.arrays)
    for rank, begun in each:
        span = ArrayShard(rank.model, rank.group.rank, 2).spans()[0]
        assert np.array_equal(begun["w"][span], one[1]["w"][span])
    assert not np.array_equal(one[1]["w"], arrays(9)["w"])


def test_a_process_that_has_not_heard_of_a_site_yet_serves_it_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    sites = Sites(min_peers=1, sync_interval=2, straggler_timeout=0.5)
    go, come, asked = threading.Event(), threading.Event(), threading.Event()
    met, serve = ShardPeer._met, ShardPeer.serve

    def met_late(peer: ShardPeer, content) -> None:
        if "bob" in content["peers"]:
            asked.wait(3)
        met(peer, content)

    def asked_first(peer: ShardPeer, request):
        asked.set()
        return serve(peer, request)

    monkeypatch.setattr(ShardPeer, "_met", met_late)
    monkeypatch.setattr(ShardPeer, "serve", asked_first)

    def first(rank: Rank) -> None:
        rank.session.begin()
        rank.go_on(4, step)
        come.set()
        go.wait(20)
        rank.session.end()

    def late(rank: Rank) -> int | None:
        come.wait(20)
        rank.session.begin()
        found = rank.session.round
        go.set()
        rank.session.end()
        return found

    ada, bob = sites.site("ada", arrays(1), **EACH), sites.site("bob", arrays(9), size=1, **all_in_one(2))
    *_, round_ = all_of((ada, first), (bob, late))
    assert round_ == 2, "it could not catch up, and founded a session of its own"


END = pytest.mark.parametrize("batches", [4, 5], ids=["at a sync point", "between two sync points"])
WAY = pytest.mark.parametrize("given", [EACH, all_in_one(2)], ids=["each its shard", "all in one"])


@WAY
@END
def test_memory_of_the_last_capture_is_free_before_the_trained_model_is_read(given, batches, monkeypatch) -> None:
    sites = Sites(world_size=2, sync_interval=2)
    memory, drop = ShardStore.memory, ShardStore.drop
    captures: dict[ShardStore, set[int]] = {}
    held: list[int] = []

    def made(store: ShardStore, number: int) -> ModelState:
        mine = captures.setdefault(store, set())
        held.append(len(mine - {number}))
        mine.add(number)
        return memory(store, number)

    def slow(store: ShardStore, number: int) -> None:
        threading.Event().wait(0.2)
        drop(store, number)
        captures.get(store, set()).discard(number)

    monkeypatch.setattr(ShardStore, "memory", made)
    monkeypatch.setattr(ShardStore, "drop", slow)
    size = 2 if given is EACH else 1
    one, other = (sites.site(name, arrays(value), size=size, **given) for name, value in (("ada", 1), ("bob", 5)))
    all_of((one, trained(batches)), (other, trained(batches)))
    assert len(held) > 2 * len(captures), "the trained model was read into other memory"
    assert not any(held)


@WAY
@END
@pytest.mark.parametrize("overlap", [False, True])
def test_a_process_never_has_more_than_three_shards(given, batches, overlap, monkeypatch) -> None:
    sites = Sites(world_size=2, sync_interval=2, overlap=overlap)
    memory, put, drop = ShardStore.memory, ShardStore.put, ShardStore.drop
    held: dict[ShardStore, set[int]] = {}
    most: list[int] = []

    def note(store: ShardStore, number: int) -> None:
        mine = held.setdefault(store, set())
        mine.add(number)
        most.append(len(mine))

    def made(store: ShardStore, number: int) -> ModelState:
        note(store, number)
        return memory(store, number)

    def came(store: ShardStore, number: int, model: ModelState) -> None:
        put(store, number, model)
        with suppress(RanksError):  # dropped before it came
            store.get(number)
            note(store, number)

    def dropped(store: ShardStore, number: int) -> None:
        drop(store, number)
        held.get(store, set()).discard(number)

    monkeypatch.setattr(ShardStore, "memory", made)
    monkeypatch.setattr(ShardStore, "put", came)
    monkeypatch.setattr(ShardStore, "drop", dropped)
    size = 2 if given is EACH else 1
    one, other = (sites.site(name, arrays(value), size=size, **given) for name, value in (("ada", 1), ("bob", 5)))
    all_of((one, trained(batches)), (other, trained(batches)))
    assert max(most) == 3, "a capture, the last model and the merged one"


def test_every_site_writes_the_same_files(tmp_path: Path) -> None:
    sites = Sites(world_size=2, sync_interval=2, keep_best=True)
    losses = iter([3.0, 1.0, 2.0, 2.5, 2.5, 2.5])
    ranks = all_of(
        (sites.site("ada", arrays(1), model_dir=tmp_path / "ada", **EACH), trained(5)),
        (
            sites.site(
                "bob",
                arrays(5),
                size=1,
                model_dir=tmp_path / "bob",
                evaluate=lambda _: lambda: Evaluation(next(losses)),
                **all_in_one(2),
            ),
            trained(4),
        ),
    )
    for name in ("swarm-final.safetensors", "swarm-best.safetensors"):
        assert (tmp_path / "ada" / name).read_bytes() == (tmp_path / "bob" / name).read_bytes()
    final = load_file(tmp_path / "bob" / "swarm-final.safetensors")
    assert equal(final, ranks[2].model.arrays, *(name for name in final if name not in ("mean", "n")))
    site = load_file(tmp_path / "bob" / "site-final.safetensors")
    assert equal(site, ranks[2].model.arrays)
    assert load_file(tmp_path / "bob" / "local.safetensors").keys() == final.keys()


def test_nan_in_any_shard_leaves_the_site_out_and_is_named() -> None:
    sites = Sites(world_size=2, sync_interval=2, normalization="pooled")

    def spoiled(rank: Rank) -> Rank:
        rank.session.begin()
        rank.model.arrays["w"][6, 0] = np.nan
        rank.go_on(2, step)
        rank.session.end()
        return rank

    ranks = all_of(
        (sites.site("ada", arrays(1), **EACH), trained(2)),
        (sites.site("bob", arrays(5), size=1, **all_in_one(2)), spoiled),
    )
    assert equal(whole(ranks[:2]), ranks[2].model.arrays)
    assert np.isfinite(ranks[2].model.arrays["w"]).all()
    assert any("w" in line and "NaN" in line for line in ranks[2].lines), ranks[2].lines


def test_the_status_tells_what_each_shard_has_sent() -> None:
    sites = Sites(world_size=2, sync_interval=2)

    def program(rank: Rank):
        rank.session.begin()
        rank.go_on(2, step)
        found = rank.opened[0].status() if rank.group.rank == 0 else None
        rank.session.end()
        return found

    ada, _, bob = all_of(
        (sites.site("ada", arrays(1), **EACH), program),
        (sites.site("bob", arrays(5), size=1, **all_in_one(2)), program),
    )
    sent = [[rank["bytes_sent"] for rank in status["ranks"]] for status in (ada, bob)]
    assert [len(each) for each in sent] == [2, 2]
    assert min(*sent[0], *sent[1]) > 0
    assert [sum(each) for each in sent] == [ada["bytes_sent"], bob["bytes_sent"]]


def failing(kind: type[Exception], message: str):
    def program(rank: Rank) -> None:
        with pytest.raises(kind, match=message):
            rank.session.begin()

    return program


def test_another_number_of_shards_is_refused_with_both_numbers() -> None:
    sites = Sites(world_size=2, start_timeout=20)
    ada, bob = sites.site("ada", arrays(1), **EACH), sites.site("bob", arrays(1), size=1, **all_in_one(3))
    refused = failing(
        IncompatiblePeerError,
        r"exchange_shards is [23] shards, layout \w+ at (ada|bob) and [23] shards, layout \w+ at (ada|bob); peers of "
        r"one session must agree on it: set it to the same number of shards at every peer, .*as in exchange_shards=2",
    )
    all_of((ada, refused), (bob, refused))


def test_more_shards_than_the_model_has_rows_are_refused() -> None:
    sites = Sites(world_size=2)
    message = "exchange_shards is not possible here: of 8 shards, that of rank 7 has no part of the model"
    all_of((sites.site("bob", arrays(1), size=2, **all_in_one(8)), failing(ConfigurationError, message)))


def test_an_address_that_cannot_be_had_fails_the_start_in_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object) -> str:
        raise AddressError("127.0.0.1:7001 is in use")

    monkeypatch.setattr("swarm.transport.memory.MemoryTransport.start", start)
    sites = Sites(world_size=2)
    all_of((sites.site("bob", arrays(1), size=2, **all_in_one(2)), failing(AddressError, "7001 is in use")))


def test_an_exchange_of_a_shard_that_has_ended_takes_the_site_out() -> None:
    sites = Sites(world_size=1, min_peers=1, sync_interval=2)

    def program(rank: Rank) -> None:
        rank.session.begin()
        rank.session._site._peers[0].link.close()
        with pytest.raises(RanksError, match="shard 1 of this site is gone"):
            rank.go_on(20, step)
        assert rank.session.over

    all_of((sites.site("ada", arrays(1), size=1, **all_in_one(2)), program))


def test_rows_are_divided_as_torch_does() -> None:
    specs = [TensorSpec(f"w{rows}", (rows, 2), "float32") for rows in (0, 1, 3, 4, 5, 9)]
    specs += [TensorSpec("scalar", (), "float32"), TensorSpec("mean", (9,), "float32", TensorKind.MEAN)]
    layout = Layout.even(Schema(tuple(specs)), 4)
    assert layout.rows == [
        (0, 0, 0, 0),
        (1, 0, 0, 0),
        (1, 1, 1, 0),
        (1, 1, 1, 1),
        (2, 2, 1, 0),
        (3, 3, 3, 0),
        (None,) * 4,
        (None,) * 4,
    ]
    assert [layout.having(tensor) for tensor in range(8)] == [
        *((), (0,), (0, 1, 2), (0, 1, 2, 3), (0, 1, 2), (0, 1, 2), (0,), (0,))
    ]
    for rank in range(4):
        having = [tensor for tensor in range(8) if rank in layout.having(tensor)]
        assert [place.tensor for place in layout.places(rank)] == having

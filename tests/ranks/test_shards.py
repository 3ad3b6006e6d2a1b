"""Sites of which each process exchanges its own shard of the model."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from safetensors.numpy import load_file

from swarm.errors import ConfigurationError, IncompatiblePeerError, ModelError, RanksError
from swarm.tensors.model import Evaluation
from swarm.testing.nodes import eventually
from tests.ranks.sharded import EACH, KINDS, arrays, equal, step, trained, whole
from tests.ranks.sites import ArrayShard, Rank, Sites, all_of


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"overlap": True},
        {"outer": "nesterov"},
        {"codec": "int8"},
        {"normalize_steps": True},
        {"outer": "nesterov", "checkin_model_on_train_end": "active"},
    ],
)
def test_sites_end_with_the_model_that_sites_of_one_process_end_with(size: int, settings) -> None:
    def run(**given):
        sites = Sites(world_size=2, sync_interval=3, normalization="pooled", **settings)
        first = sites.site("ada", arrays(1), size=size, **given)
        second = sites.site("bob", arrays(5), size=size, **given)
        ranks = all_of((first, trained(11)), (second, trained(9)))
        return ranks[:size], ranks[size:]

    ada, bob = run(**EACH)
    assert equal(whole(ada), whole(bob))
    for rank in (*ada, *bob):
        assert rank.session.over
        assert equal(rank.model.arrays, ada[0].model.arrays, "mean", "n", "table", "scale")
    if "overlap" in settings:
        return  # which steps a round contains depends on the time
    copies, _ = run(kinds=KINDS)
    exact = settings.get("codec") is None
    for name, array in whole(ada).items():
        assert np.allclose(array, copies[0].model.arrays[name], rtol=0, atol=1e-6 if exact else 0.05), name


def test_a_site_that_comes_late_gets_each_shard_from_the_process_that_has_it() -> None:
    sites = Sites(min_peers=1, sync_interval=2, straggler_timeout=0.5)
    go, come = threading.Event(), threading.Event()

    def first(rank: Rank) -> Rank:
        rank.session.begin()
        rank.go_on(4, step)
        come.set()
        go.wait(20)
        rank.session.end()
        return rank

    def late(rank: Rank):
        come.wait(20)
        rank.session.begin()
        begun = {name: array.copy() for name, array in rank.model.arrays.items()}
        go.set()
        rank.session.end()
        return rank, begun

    ada, bob = sites.site("ada", arrays(1), **EACH), sites.site("bob", arrays(9), **EACH)
    *found, one, other = all_of((ada, first), (bob, late))
    merged = whole(found)
    assert equal(whole([one[0], other[0]]), merged)
    begun = [one[1], other[1]]
    assert np.array_equal(begun[0]["w"][:4], merged["w"][:4])
    assert np.array_equal(begun[1]["w"][4:], merged["w"][4:])
    assert (begun[1]["w"][:4] == arrays(9)["w"][:4]).all(), "rank 1 got rows of rank 0"


def test_every_site_writes_the_whole_model(tmp_path) -> None:
    sites = Sites(world_size=2, sync_interval=2, keep_best=True)
    given = [{**EACH, "model_dir": tmp_path / name} for name in ("ada", "bob")]
    losses = iter([3.0, 1.0, 2.0, 2.5, 2.5, 2.5])
    lost: list[float] = []

    def evaluate(rank: int):
        def found() -> Evaluation:
            if rank == 0:
                lost.append(next(losses))
            return Evaluation(lost[-1] if lost else 3.0)

        return found

    ranks = all_of(
        (sites.site("ada", arrays(1), **given[0], evaluate=evaluate), trained(5)),
        (sites.site("bob", arrays(5), **given[1]), trained(4)),
    )
    files = [load_file(tmp_path / name / "swarm-final.safetensors") for name in ("ada", "bob")]
    assert equal(files[0], files[1], *files[0])
    assert equal(files[0], whole(ranks[:2]), *files[0])
    best = [load_file(tmp_path / name / "swarm-best.safetensors") for name in ("ada", "bob")]
    assert equal(best[0], best[1], *best[0])
    local = load_file(tmp_path / "ada" / "local.safetensors")
    assert local["w"].shape == (7, 5)
    assert not equal(local, files[0], "w")


def test_nan_in_the_shard_of_one_process_leaves_the_whole_site_out() -> None:
    sites = Sites(world_size=2, sync_interval=2)

    def spoiled(rank: Rank) -> Rank:
        rank.session.begin()
        if rank.group.rank == 1:
            rank.model.arrays["w"][6, 0] = np.nan
        rank.go_on(2, step)
        rank.session.end()
        return rank

    ranks = all_of((sites.site("ada", arrays(1), **EACH), spoiled), (sites.site("bob", arrays(5), **EACH), trained(2)))
    assert equal(whole(ranks[:2]), whole(ranks[2:]))
    assert np.isfinite(whole(ranks[:2])["w"]).all()
    assert any("w" in line and "NaN" in line for line in ranks[0].lines), ranks[0].lines


def test_a_process_that_is_gone_takes_its_site_out_at_once() -> None:
    sites = Sites(min_peers=1, world_size=2, sync_interval=2, straggler_timeout=0.5)
    left = threading.Event()

    def other(rank: Rank) -> Rank:
        rank.session.begin()
        if rank.group.rank == 0:
            eventually(lambda: not rank.opened[0]._engine.met, "ada has left")
            left.set()
        left.wait(20)
        rank.go_on(4, step)
        rank.session.end()
        return rank

    def program(rank: Rank) -> None:
        rank.session.begin()
        if rank.group.rank:
            rank.session._peer.link.close()  # as the end of a process does, and nothing else: rank 0 trains
            left.wait(20)
            rank.group.close()
            return
        left.wait(20)
        with pytest.raises(RanksError, match="rank 1 of this site is gone"):
            rank.go_on(2, step)
        assert rank.session.over

    all_of((sites.site("ada", arrays(1), **EACH), program), (sites.site("bob", arrays(5), **EACH), other))


def test_the_status_tells_what_each_process_has_sent() -> None:
    sites = Sites(world_size=2, sync_interval=2)

    def program(rank: Rank):
        rank.session.begin()
        rank.go_on(2, step)
        found = rank.opened[0].status() if rank.group.rank == 0 else None
        rank.session.end()
        return found

    (ada, _, bob, _) = all_of(
        (sites.site("ada", arrays(1), **EACH), program), (sites.site("bob", arrays(5), **EACH), program)
    )
    for status in (ada, bob):
        for what in ("bytes_sent", "bytes_received"):
            each = [rank[what] for rank in status["ranks"]]
            assert sum(each) == status[what]
            assert min(each) > 0
            assert len(each) == 2


def failing(kind: type[Exception], message: str):
    def program(rank: Rank) -> None:
        with pytest.raises(kind, match=message):
            rank.session.begin()

    return program


def test_sites_with_other_layouts_do_not_meet() -> None:
    sites = Sites(world_size=2, start_timeout=20)
    ada, bob = sites.site("ada", arrays(1), **EACH), sites.site("bob", arrays(1), size=3, **EACH)
    refused = failing(
        IncompatiblePeerError,
        r"exchange_shards is .* shards, layout .* must agree on it: .* leave it out at every peer",
    )
    all_of((ada, refused), (bob, refused))


def test_a_site_that_exchanges_the_whole_model_does_not_meet_one_that_does_not() -> None:
    sites = Sites(world_size=2, start_timeout=20)
    ada, bob = sites.site("ada", arrays(1), **EACH), sites.site("bob", arrays(1), kinds=KINDS)
    refused = failing(IncompatiblePeerError, r"exchange_shards is .* must agree")
    all_of((ada, refused), (bob, refused))


@pytest.mark.parametrize("rule", ["geomedian", "norm_clip"])
def test_rules_that_compare_whole_contributions_are_refused(rule: str) -> None:
    sites = Sites(min_peers=1, merge_method=rule, world_size=4)
    ada = sites.site("ada", arrays(1), **EACH)
    all_of((ada, failing(ConfigurationError, f"exchange_shards=True contradicts merge_method='{rule}'")))


class OddRows(ArrayShard):
    """Says that it has a row more than it has."""

    def rows(self):
        return [row if row is None or self._rank == 0 else row + 1 for row in super().rows()]


def test_parts_that_are_not_the_tensor_are_refused() -> None:
    sites = Sites(min_peers=1)
    ada = sites.site("ada", arrays(1), **{**EACH, "shard": OddRows})
    all_of((ada, failing(ModelError, "the parts of 'w' in the processes of this site are not the tensor")))

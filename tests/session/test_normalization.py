"""Statistics of normalization layers: pooled everywhere, or kept by each site and pooled in the swarm's result."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from swarm.storage.results import PREVIOUS
from swarm.tensors.state import TensorKind
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

KINDS = {"mean": TensorKind.MEAN, "var": TensorKind.VARIANCE, "seen": TensorKind.COUNTER}
DATA = {"ada": (0.0, 1.0), "bob": (4.0, 1.0)}
"""Mean and variance of each site's data."""
POOLED = {"mean": [2.0], "var": [5.0]}


def arrays() -> dict[str, np.ndarray]:
    zero, one = np.zeros(1, np.float32), np.ones(1, np.float32)
    return {"w": zero, "mean": zero.copy(), "var": one, "seen": np.zeros((), np.int64)}


def pair(place: Path | None = None, **settings: object) -> list[SwarmPeer]:
    swarm = MemorySwarm(sync_interval=2, world_size=2, failure_timeout=1.0, checkpoint_seconds=0, **settings)
    return [
        swarm.peer(name, arrays(), kinds=KINDS, model_dir=place / name if place else None, evaluate=None)
        for name in DATA
    ]


def step(peer: SwarmPeer) -> None:
    """One batch: the weight moves, and the statistics become those of the site's data."""
    peer.arrays["w"] += 1.0
    peer.arrays["mean"][...], peer.arrays["var"][...] = DATA[peer.name]
    peer.arrays["seen"] += 1


def train(*peers: SwarmPeer, batches: int = 4) -> None:
    together(*(partial(peer.train, batches, step) for peer in peers))


def begin_and_stop(*peers: SwarmPeer, batches: int = 4) -> None:
    def run(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(batches, step)

    together(*(partial(run, peer) for peer in peers))
    for peer in peers:
        peer.session.abort("power cut")


def statistics(peer: SwarmPeer) -> tuple[float, float]:
    return float(peer.arrays["mean"][0]), float(peer.arrays["var"][0])


def warnings(peer: SwarmPeer) -> list[str]:
    return [line for line in peer.lines if "standard deviations" in line]


def test_pooled_statistics_are_the_same_at_all_sites(tmp_path: Path) -> None:
    ada, bob = pair(tmp_path, normalization="pooled")
    train(ada, bob)
    assert statistics(ada) == statistics(bob) == (2.0, 5.0)
    assert not (tmp_path / "ada" / "site-final.safetensors").exists()


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("normalization", ["silobn", "fedbn"])
def test_each_site_keeps_its_own_statistics_and_the_result_has_pooled_ones(
    tmp_path: Path, normalization: str, overlap: bool
) -> None:
    peers = pair(tmp_path, normalization=normalization, overlap=overlap)
    train(*peers)
    finals = [load_file(tmp_path / peer.name / "swarm-final.safetensors") for peer in peers]
    for peer, final in zip(peers, finals, strict=True):
        assert statistics(peer) == DATA[peer.name]
        assert {name: final[name].tolist() for name in POOLED} == POOLED
        site = load_file(tmp_path / peer.name / "site-final.safetensors")
        assert (site["mean"].item(), site["var"].item()) == DATA[peer.name]
        assert site["w"].tolist() == final["w"].tolist() == peer.arrays["w"].tolist()
        assert peer.session.result == tmp_path / peer.name / "site-final.safetensors"
        assert any("site-final.safetensors" in line and "mean, var, seen" in line for line in peer.lines)
    assert finals[0]["w"].tolist() == finals[1]["w"].tolist()
    digests = {line.rpartition("digest ")[2] for peer in peers for line in peer.lines if "closing model of" in line}
    assert len(digests) == 1


def test_the_merged_model_is_validated_with_the_statistics_of_the_site() -> None:
    seen: list[tuple[float, float]] = []
    swarm = MemorySwarm(sync_interval=2, world_size=2, normalization="silobn")
    peers = [swarm.peer(name, arrays(), kinds=KINDS) for name in ("bob",)]

    def evaluate() -> object:
        seen.append(statistics(ada))
        raise ValueError("only looked")

    ada = swarm.peer("ada", arrays(), kinds=KINDS, evaluate=evaluate)
    train(ada, *peers)
    assert set(seen[1:]) == {DATA["ada"]}


def test_sites_may_choose_differently() -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2)
    ada = swarm.peer("ada", arrays(), kinds=KINDS, normalization="silobn")
    bob = swarm.peer("bob", arrays(), kinds=KINDS, normalization="pooled")
    train(ada, bob)
    assert statistics(ada) == DATA["ada"]
    assert statistics(bob) == (2.0, 5.0)


@pytest.mark.parametrize("batches", [0, 2])
def test_a_site_that_did_not_train_has_the_statistics_of_the_swarm(batches: int) -> None:
    """Also one that is there first and whose only sync point, at the end, is of the others' steps."""
    swarm = MemorySwarm(sync_interval=2, world_size=2, failure_timeout=1.0)
    ada, bob = (swarm.peer(name, arrays(), kinds=KINDS, node_weightage=int(name == "bob")) for name in DATA)
    together(partial(ada.train, 0, step), partial(bob.train, batches + 2, step))
    assert statistics(ada) == statistics(bob) == DATA["bob"]


def test_a_site_whose_own_statistics_are_nan_takes_those_of_the_swarm_and_contributes_again() -> None:
    def running(peer: SwarmPeer) -> None:
        peer.arrays["w"] += 1.0
        value = np.nan if peer.name == "bob" and peer.arrays["seen"] == 2 else DATA[peer.name][0]
        peer.arrays["mean"][...] = 0.5 * peer.arrays["mean"] + 0.5 * value
        peer.arrays["seen"] += 1

    ada, bob = pair()
    together(*(partial(peer.train, 8, running) for peer in (ada, bob)))
    assert np.isfinite(bob.arrays["mean"]).all()
    assert [report.contributors for report in ada.reports] == [("ada", "bob"), ("ada",), ("ada", "bob"), ("ada", "bob")]


def test_a_resumed_site_has_its_own_statistics_again(tmp_path: Path) -> None:
    begin_and_stop(*pair(tmp_path, normalization="silobn"))
    peers = pair(tmp_path, normalization="silobn", resume=True)
    together(*(peer.session.begin for peer in peers))
    assert [statistics(peer) for peer in peers] == list(DATA.values())
    for peer in peers:
        peer.session.abort("done")


def test_a_resumed_site_without_a_file_of_its_own_statistics_takes_those_of_the_swarm(tmp_path: Path) -> None:
    begin_and_stop(*pair(tmp_path, normalization="silobn"))
    (lost,) = (tmp_path / "ada").glob("swarm-state/*/*/kept.safetensors")
    lost.unlink()
    ada, bob = pair(tmp_path, normalization="silobn", resume=True)
    together(ada.session.begin, bob.session.begin)
    assert statistics(ada) == (2.0, 5.0)
    assert statistics(bob) == DATA["bob"]
    assert any("start as those of the swarm" in line for line in ada.lines)
    for peer in (ada, bob):
        peer.session.abort("done")


def test_a_site_model_of_an_earlier_run_is_renamed(tmp_path: Path) -> None:
    train(*pair(tmp_path, normalization="silobn"))
    train(*pair(tmp_path, normalization="pooled"))
    assert (tmp_path / "ada" / f"{PREVIOUS}site-final.safetensors").exists()
    assert not (tmp_path / "ada" / "site-final.safetensors").exists()


def test_a_site_far_from_the_others_is_warned_once_with_the_figure_and_the_remedy() -> None:
    ada, bob = pair(normalization="pooled")
    train(ada, bob, batches=8)
    for peer in (ada, bob):
        (warning,) = warnings(peer)
        assert warning.startswith("WARNING")
        # ((0 - 2)² + (1 - √5)²) / 5
        assert "mean are 1.05 standard deviations" in warning
        assert 'normalization="silobn"' in warning
        assert peer.reports[0].statistics_distance == pytest.approx(1.05, abs=0.005)
        assert peer.session.metrics()["swarm_statistics_distance"] == pytest.approx(1.05, abs=0.005)


def test_a_site_that_keeps_its_own_statistics_is_told_that_the_result_fits_no_site() -> None:
    ada, bob = pair(normalization="silobn")
    train(ada, bob)
    (line,) = warnings(ada)
    assert line.startswith("INFO")
    assert "swarm-final.safetensors" in line


def test_sites_with_equal_data_are_not_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATA, "bob", DATA["ada"])
    ada, bob = pair(normalization="pooled")
    train(ada, bob)
    assert not warnings(ada)
    assert ada.reports[0].statistics_distance == 0.0


def test_a_model_without_such_layers_has_no_distance() -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2)
    ada, bob = (swarm.peer(name, {"w": np.zeros(1)}) for name in DATA)

    def count(peer: SwarmPeer) -> None:
        peer.arrays["w"] += 1.0

    together(*(partial(peer.train, 2, count) for peer in (ada, bob)))
    assert ada.reports[0].statistics_distance is None
    assert "swarm_statistics_distance" not in ada.session.metrics()

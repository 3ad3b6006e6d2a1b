"""Peers with absurd or false norms are left out by name; honest peers never are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import ml_dtypes
import numpy as np
import pytest

from swarm import hookimpl
from swarm.merge import BUILTIN_RULES
from swarm.peer.futures import Answer
from swarm.records import ContributionStats
from swarm.session import merging, pending
from swarm.session.merging import Merging
from swarm.tensors.state import Array, ModelState, TensorKind
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

NAMES = ("ada", "bob", "cyd")
Lie = Callable[[ContributionStats], ContributionStats]


@pytest.fixture
def lying(monkeypatch: pytest.MonkeyPatch) -> Callable[[Lie], None]:
    """Lets cyd say something else of its weights than what was measured."""

    def lie(about: Lie) -> None:
        measured = pending.measured

        def told(stats: ContributionStats, *weights: object) -> ContributionStats:
            true = measured(stats, *weights)
            return about(true) if stats.peer == "cyd" else true

        monkeypatch.setattr(pending, "measured", told)
        monkeypatch.setattr(merging, "measured", told)

    return lie


def trained(amounts: dict[str, float], rounds: int = 2, **settings: object) -> list[SwarmPeer]:
    """Three peers, each of which moves by its own amount, more or less, in every batch."""
    swarm = MemorySwarm(sync_interval=2, world_size=3, **settings)
    start = np.random.default_rng(0).normal(size=3000).astype(np.float32)
    rngs = {name: np.random.default_rng(number + 1) for number, name in enumerate(NAMES)}
    peers = [swarm.peer(name, {"w": start}) for name in NAMES]

    def step(peer: SwarmPeer) -> None:
        peer.arrays["w"] += (amounts[peer.name] * rngs[peer.name].normal(size=3000)).astype(np.float32)

    together(*(partial(peer.train, 2 * rounds, step) for peer in peers))
    return peers


def said(peers: list[SwarmPeer], text: str) -> list[str]:
    return [line for peer in peers for line in peer.lines if text in line]


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("codec", ["exact", "bf16", "int8"])
def test_a_peer_that_sends_more_than_it_offered_is_named_and_left_out(
    codec: str, overlap: bool, lying: Callable[[Lie], None]
) -> None:
    lying(lambda stats: replace(stats, delta_norm=min(stats.delta_norm, 1.0)))
    peers = trained({"ada": 0.01, "bob": 0.02, "cyd": 50.0}, codec=codec, overlap=overlap)
    assert len({peer.digest() for peer in peers}) == 1
    assert np.abs(peers[0].arrays["w"]).max() < 10
    for peer in peers:
        assert peer.reports  # with overlap, that of the second round comes after the training
        assert {(report.group, report.contributors) for report in peer.reports} == {(NAMES, ("ada", "bob"))}
    told = said(
        peers, "contribution of cyd left out: cyd offered weights that have moved by 1 and sent some that did by"
    )
    assert len(told) == len({line.split(":")[0] for line in told})  # once a round
    assert not said(peers, "of ada left out")
    assert not said(peers, "of bob left out")


@pytest.mark.parametrize("claim", [1e6, float("nan"), float("inf"), -1.0])
def test_a_peer_with_an_impossible_claim_is_named_and_left_out(claim: float, lying: Callable[[Lie], None]) -> None:
    lying(lambda stats: replace(stats, delta_norm=claim))
    peers = trained(dict.fromkeys(NAMES, 0.01))
    assert len({peer.digest() for peer in peers}) == 1
    assert [report.contributors for report in peers[0].reports[:2]] == [("ada", "bob")] * 2
    assert len(said(peers, "WARNING round 1: contribution of cyd left out: it")) == 1
    assert not said(peers, "round 1: attempt")


def test_a_peer_with_an_absurd_norm_is_named_and_left_out() -> None:
    peers = trained({"ada": 0.01, "bob": 0.02, "cyd": 100.0}, rounds=1)
    assert len({peer.digest() for peer in peers}) == 1
    assert peers[0].reports[0].contributors == ("ada", "bob")
    (line,) = said(peers, "round 1: contribution of cyd left out: its weights have moved by")
    assert "the median of those who train is 1." in line
    assert line.startswith("WARNING")
    assert not said(peers, "ignore")


def test_two_peers_are_not_screened() -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2)
    ada, bob = (swarm.peer(name, {"w": np.zeros(4, np.float32)}) for name in NAMES[:2])

    def step(peer: SwarmPeer) -> None:
        peer.arrays["w"] += {"ada": 1.0, "bob": 1e6}[peer.name]

    together(*(partial(peer.train, 1, step) for peer in (ada, bob)))
    assert ada.reports[0].contributors == ("ada", "bob")


# Honest peers --------------------------------------------------------------------------------------------------------


def model() -> dict[str, Array]:
    wide = np.random.default_rng(0).normal(size=2000)
    return {
        "first": wide.astype(np.float32),
        "brain": wide.astype(ml_dtypes.bfloat16),
        "half": wide.astype(np.float16),
        "double": wide,
        "frozen": np.ones(30_000, np.float32),
        "own": wide[:10].astype(np.float32),
        "mean": np.zeros(3, np.float32),
        "variance": np.ones(3, np.float32),
    }


KINDS = {"mean": TensorKind.MEAN, "variance": TensorKind.VARIANCE}


@pytest.mark.parametrize(
    ("count", "merge_method"),
    [(count, name) for count in (2, 4) for name, rule in BUILTIN_RULES.items() if rule.fewest <= count],
)
def test_a_peer_that_ends_early_and_serves_huge_weights_is_named_and_left_out(
    count: int, merge_method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve = Merging.serve

    def served(self: Merging, own: ModelState) -> Answer:
        if self._settings.name == "cyd":
            own.segments["float32"] *= 1000
        return serve(self, own)

    monkeypatch.setattr(Merging, "serve", served)
    peers = ended_early(count, merge_method)
    assert np.abs(peers[0].arrays["w"]).max() < 10
    told = said(peers, "contribution of cyd left out: its weights have moved by")
    assert {line.split(":")[0] for line in told} >= {f"WARNING round {number}" for number in (4, 5, 6)}
    assert all("that frozen ones can be away" in line for line in told)
    assert not [line for line in said(peers, "left out") if line not in told]


@pytest.mark.parametrize(
    ("count", "merge_method"),
    [(count, name) for count in (2, 4) for name, rule in BUILTIN_RULES.items() if rule.fewest <= count],
)
def test_a_peer_that_ends_early_contributes_until_the_end(count: int, merge_method: str) -> None:
    peers = ended_early(count, merge_method)
    assert not said(peers, "left out")
    assert all("cyd" in report.contributors for report in peers[1].reports)


def ended_early(count: int, merge_method: str) -> list[SwarmPeer]:
    """Peers that train 20 batches each, but for cyd, which trains 4."""
    names = ("cyd", "ada", "bob", "dee")[:count]
    swarm = MemorySwarm(sync_interval=2, world_size=count, merge_method=merge_method)
    start = np.random.default_rng(0).normal(size=3000).astype(np.float32)
    rngs = {name: np.random.default_rng(number + 1) for number, name in enumerate(names)}
    peers = [swarm.peer(name, {"w": start}) for name in names]

    def step(peer: SwarmPeer) -> None:
        peer.arrays["w"] += (0.01 * (1 + rngs[peer.name].normal(size=3000))).astype(np.float32)

    together(*(partial(peer.train, 4 if peer.name == "cyd" else 20, step) for peer in peers))
    assert len({peer.digest() for peer in peers}) == 1
    return peers


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("codec", ["exact", "bf16", "int8"])
@pytest.mark.parametrize("mode", ["snapshot", "active", "inactive"])
def test_honest_peers_are_never_left_out(mode: str, codec: str, overlap: bool) -> None:
    """Several dtypes, a local tensor, statistics, runs of unequal length, and steps that get far smaller at once."""
    settings = {
        "codec": codec,
        "overlap": overlap,
        "local": ["own"],
        "normalization": "pooled",
        "checkin_model_on_train_end": mode,
    }
    swarm = MemorySwarm(sync_interval=2, world_size=3, **settings)
    peers = [swarm.peer(name, model(), kinds=KINDS) for name in NAMES]
    rngs = {name: np.random.default_rng(number + 1) for number, name in enumerate(NAMES)}
    taken = dict.fromkeys(NAMES, 0)

    def step(peer: SwarmPeer) -> None:
        amount = 0.3 if taken[peer.name] < 4 else 3e-6 if taken[peer.name] < 10 else 0.0
        taken[peer.name] += 1
        for name in ("first", "brain", "half", "double", "own", "mean"):
            array = peer.arrays[name]
            array += (amount * rngs[peer.name].normal(size=array.shape)).astype(array.dtype)

    lengths = {"ada": 5, "bob": 9, "cyd": 14}
    together(*(partial(peer.train, lengths[peer.name], step) for peer in peers))
    assert len({peer.digest() for peer in peers}) == 1
    assert not said(peers, "left out")
    assert not said(peers, "ignore")


def test_the_residual_is_part_of_the_offer() -> None:
    """Else whoever takes small steps after large ones would be taken for a liar: what it sends is mostly leftovers."""
    offered: list[ContributionStats] = []

    class Listener:
        @hookimpl
        def swarm_accept_contribution(self, contribution: ContributionStats) -> str | None:
            offered.append(contribution)
            return None

    swarm = MemorySwarm(sync_interval=1, world_size=2, codec="int8")
    peers = [swarm.peer(name, {"w": np.zeros(4000, np.float32)}, plugins={"l": Listener()}) for name in NAMES[:2]]
    sizes = {name: iter((1.0, 1e-6, 0.0)) for name in NAMES}

    def step(peer: SwarmPeer) -> None:
        peer.arrays["w"] += (next(sizes[peer.name]) * np.random.default_rng(3).normal(size=4000)).astype(np.float32)

    together(*(partial(peer.train, 3, step) for peer in peers))
    first, second = ([each for each in offered if each.round == number] for number in (1, 2))
    assert all(each.residual == 0 for each in first)
    assert all(each.residual > 100 * each.delta_norm > 0 for each in second)
    assert not said(peers, "ignore")


def test_a_model_of_statistics_only_is_merged() -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2)
    kinds = {"mean": TensorKind.MEAN, "variance": TensorKind.VARIANCE}
    peers = [
        swarm.peer(name, {"mean": np.full(3, value, np.float32), "variance": np.ones(3, np.float32)}, kinds=kinds)
        for name, value in (("ada", 0.0), ("bob", 2.0))
    ]

    def step(peer: SwarmPeer) -> None:
        peer.arrays["mean"] += 1.0

    together(*(partial(peer.train, 2, step) for peer in peers))
    assert [[report.attempts for report in peer.reports] for peer in peers] == [[1, 1]] * 2

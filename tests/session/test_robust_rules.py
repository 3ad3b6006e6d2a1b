"""Rules that limit bad contributions, in whole sessions."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from swarm.errors import ConfigurationError
from swarm.merge import BUILTIN_RULES
from swarm.tensors.state import TensorKind
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

NAMES = ("ada", "bob", "cyd", "dee", "eve")
ROBUST = [name for name, rule in BUILTIN_RULES.items() if rule.robust]
WARNING = "does not limit a bad one"


def trained(names: tuple[str, ...], batches: dict[str, int], bad: str = "", **settings: object) -> list[SwarmPeer]:
    """Peers that add about 1 in each batch, from zeros; ``bad`` takes 10 from it."""
    swarm = MemorySwarm(sync_interval=1, straggler_timeout=20.0, **settings)
    peers = [swarm.peer(name, {"w": np.zeros(900, np.float32)}) for name in names]
    rngs = {name: np.random.default_rng(number) for number, name in enumerate(names)}

    def step(peer: SwarmPeer) -> None:
        own = rngs[peer.name].normal(scale=0.1, size=900)
        peer.arrays["w"] += (-10 if peer.name == bad else 1) + own.astype(np.float32)

    together(*(partial(peer.train, batches.get(peer.name, 4), step) for peer in peers))
    assert len({peer.digest() for peer in peers}) == 1
    return peers


@pytest.mark.parametrize("codec", ["exact", "int8"])
@pytest.mark.parametrize("rule", ROBUST)
def test_one_bad_peer_of_five_does_not_decide_where_the_model_goes(rule: str, codec: str) -> None:
    peers = trained(NAMES, {}, bad="cyd", world_size=5, merge_method=rule, codec=codec)
    assert 1.5 < peers[0].arrays["w"].mean() < 4.2  # the mean ends at -4.8, the others alone at 4
    assert not [line for line in peers[0].lines if WARNING in line]


@pytest.mark.parametrize("rule", BUILTIN_RULES)
def test_most_peers_finish_early_and_the_others_train_on(rule: str) -> None:
    """Frozen weights have most of the weight: they hold the model where they are, and no round fails."""
    early = dict.fromkeys(("ada", "bob", "cyd"), 2)
    peers = trained(NAMES, {**early, "dee": 8, "eve": 8}, world_size=5, merge_method=rule)
    late = peers[3]
    assert [report.attempts for report in late.reports] == [1] * len(late.reports)
    assert all(report.contributors == NAMES for report in late.reports[:-1])
    assert not [line for line in late.lines if "left out" in line]
    values = late.arrays["w"].mean()
    assert 1.5 < values < 6
    if rule in ROBUST:
        assert values < 3  # near the frozen weights of the majority, which are at 2


@pytest.mark.parametrize("rule", ["trimmed_mean", "norm_clip", "centered_clip", "nnm"])
@pytest.mark.parametrize(
    ("given", "said"), [({"world_size": 2}, "world_size gives 2"), ({"min_peers": 2}, "min_peers gives 2")]
)
def test_a_rule_that_needs_more_peers_is_refused_at_the_start(rule: str, given: dict[str, int], said: str) -> None:
    needed = BUILTIN_RULES[rule].fewest
    peer = MemorySwarm(merge_method=rule, **given).peer("ada", {"w": np.zeros(1)})
    with pytest.raises(ConfigurationError, match=f"'{rule}' needs {needed} or more peers to limit .*{said}"):
        peer.session.begin()


def test_enough_expected_peers_or_none_on_purpose_are_accepted() -> None:
    peer = MemorySwarm(merge_method="nnm", loopback=True).peer("ada", {"w": np.zeros(1)})
    peer.train(2, lambda peer: None)
    assert len(trained(NAMES[:4], {}, world_size=4, merge_method="nnm")) == 4


def test_a_round_with_too_few_contributions_is_merged_with_a_warning_once() -> None:
    peers = trained(NAMES[:4], {"ada": 2}, world_size=4, merge_method="nnm", checkin_model_on_train_end="inactive")
    for peer in peers[1:]:
        (line,) = (line for line in peer.lines if WARNING in line)
        assert (
            line
            == "WARNING round 3: with 3 contributions merge_method='nnm' does not limit a bad one: it needs 4 or more"
        )


def test_a_contribution_far_from_the_others_is_left_out_and_named() -> None:
    peers = trained(NAMES, {}, bad="cyd", world_size=5, screen="distances")
    assert peers[0].arrays["w"].mean() == pytest.approx(4, abs=0.1)
    told = [line for peer in peers for line in peer.lines if "contribution of cyd left out" in line]
    assert len(told) == 4
    assert {line.split(":")[0] for line in told} == {f"WARNING round {number}" for number in (1, 2, 3, 4)}
    assert all("its median distance from the others is 3" in line for line in told)
    assert all(line.endswith("(screen=distances)") for line in told)


@pytest.mark.parametrize(("screen", "merged"), [("distances", 1.0), ("norms", 201.0)])
def test_statistics_of_a_contribution_that_is_left_out_are_not_merged(screen: str, merged: float) -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=5, screen=screen, normalization="pooled")
    kinds = {"m": TensorKind.MEAN}
    peers = [swarm.peer(name, {"w": np.zeros(900), "m": np.zeros(2)}, kinds=kinds) for name in NAMES]
    rngs = {name: np.random.default_rng(number) for number, name in enumerate(NAMES)}

    def step(peer: SwarmPeer) -> None:
        bad = peer.name == "cyd"
        peer.arrays["w"] += rngs[peer.name].normal(-10 if bad else 1, 0.1, size=900)
        peer.arrays["m"][:] = 1001.0 if bad else 1.0

    together(*(partial(peer.train, 1, step) for peer in peers))
    assert {peer.digest() for peer in peers} == {peers[0].digest()}
    assert peers[0].arrays["m"].tolist() == pytest.approx([merged, merged])


def test_honest_peers_and_those_that_have_finished_are_not_left_out() -> None:
    early = dict.fromkeys(("ada", "bob"), 2)
    peers = trained(NAMES, {**early, "cyd": 8, "dee": 8, "eve": 8}, world_size=5, screen="distances")
    assert not [line for peer in peers for line in peer.lines if "left out" in line]


@pytest.mark.parametrize("rule", ["coordmedian", "trimmed_mean"])
def test_a_rule_without_distances_contradicts_the_screen(rule: str) -> None:
    peer = MemorySwarm(merge_method=rule, screen="distances", world_size=5).peer("ada", {"w": np.zeros(1)})
    with pytest.raises(ConfigurationError, match=f"screen='distances' contradicts merge_method='{rule}'"):
        peer.session.begin()

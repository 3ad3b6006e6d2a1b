"""Sessions with codecs: the same bytes on every peer, close to those of an exact session."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from swarm import hookimpl
from swarm.errors import ConfigurationError, SwarmError
from swarm.exchange import layout
from swarm.exchange.coding import ChunkCoder
from swarm.exchange.feedback import ErrorFeedback
from swarm.merge import BUILTIN_RULES
from swarm.peer.futures import Answer, Futures
from swarm.records import ContributionStats, Outcome
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

NAMES = ("ada", "bob", "cyd")
ROUNDS = 6


def run(codec: str, **settings: object) -> list[SwarmPeer]:
    swarm = MemorySwarm(sync_interval=1, world_size=3, codec=codec, **settings)
    start = np.random.default_rng(0).normal(size=3000).astype(np.float32)
    peers = [swarm.peer(name, {"w": start, "frozen": np.ones(50_000, np.float32)}) for name in NAMES]
    steps = {name: np.random.default_rng(index + 1) for index, name in enumerate(NAMES)}

    def step(peer: SwarmPeer) -> None:
        peer.arrays["w"] += 0.01 * steps[peer.name].normal(size=3000).astype(np.float32)

    together(*(partial(peer.train, ROUNDS, step) for peer in peers))
    return peers


@pytest.mark.parametrize(("codec", "tolerance"), [("bf16", 3e-4), ("int8", 1e-3), ("auto", 1e-3)])
@pytest.mark.parametrize("merge_method", [name for name, rule in BUILTIN_RULES.items() if rule.fewest <= 3])
def test_all_peers_end_with_the_same_bytes_near_the_exact_ones(codec: str, tolerance: float, merge_method: str) -> None:
    exact = run("exact", merge_method=merge_method)[0].arrays["w"]
    peers = run(codec, merge_method=merge_method)
    assert len({peer.digest() for peer in peers}) == 1
    assert all(len(report.group) == 3 for peer in peers for report in peer.reports)
    np.testing.assert_allclose(peers[0].arrays["w"], exact, atol=tolerance)


@pytest.mark.parametrize(("codec", "share"), [("exact", 1.0), ("bf16", 0.5), ("int8", 0.25)])
def test_unchanged_chunks_cost_nothing_and_a_codec_shortens_the_others(
    codec: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "CHUNK_BYTES", 1000)
    report = run(codec)[0].reports[2]
    trained = 2 * 3000 * 4  # all of it lies in the slice of this peer, who gives it to both others
    headers = 16 * 2 * 2 / 3 * 53_000 * 4 / 1000
    assert report.bytes_sent <= share * trained * 1.1 + headers * 1.1


def test_the_coding_error_of_a_coarse_codec_is_sent_with_later_rounds() -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2, codec="int8")
    peers = [swarm.peer(name, {"w": np.zeros(4, np.float32)}) for name in NAMES[:2]]

    def step(peer: SwarmPeer) -> None:
        # In both slices there is a difference that is too small to be coded beside the other one.
        peer.arrays["w"] += np.array([1.0, 0.001] * 2, np.float32)

    together(*(partial(peer.train, 40, step) for peer in peers))
    large, small = peers[0].arrays["w"].reshape(2, 2).T
    assert large == pytest.approx(40, abs=0.1)
    assert small == pytest.approx(0.04, abs=0.012)


def test_peers_must_agree_on_the_codec() -> None:
    swarm = MemorySwarm(world_size=2, start_timeout=5.0)
    ada, bob = (
        swarm.peer(name, {"w": np.zeros(2, np.float32)}, codec=codec)
        for name, codec in (("ada", "int8"), ("bob", "exact"))
    )
    with pytest.raises(SwarmError, match="codec"):
        together(ada.session.begin, bob.session.begin)


def test_an_unknown_codec_is_refused_by_name() -> None:
    peer = MemorySwarm(world_size=1).peer("ada", {"w": np.zeros(2, np.float32)}, codec="int9")
    with pytest.raises(ConfigurationError, match=r"codec='int9' is not allowed.*'auto' or .*did you mean 'int8'"):
        peer.session.begin()


@pytest.mark.parametrize("overlap", [False, True])
def test_the_coding_error_is_computed_before_training_changes_the_model(
    overlap: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    swarm = MemorySwarm(world_size=2, codec="int8", sync_interval=1, overlap=overlap)
    peers = [swarm.peer(name, {"w": np.zeros(1000, np.float32)}) for name in ("ada", "bob")]
    together(*(peer.session.begin for peer in peers))
    order: list[str] = []
    update, answer = ErrorFeedback.update, Futures.answer

    def updating(feedback: ErrorFeedback, coder: ChunkCoder, group: tuple[str, ...]) -> None:
        order.append("updated")
        update(feedback, coder, group)

    def answering(futures: Futures, given: Answer) -> None:
        order.append("answered")
        answer(futures, given)

    monkeypatch.setattr(ErrorFeedback, "update", updating)
    monkeypatch.setattr(Futures, "answer", answering)
    for peer in peers:
        peer.arrays["w"] += 1.0
    together(*(partial(peer.go_on, 2, lambda _: None) for peer in peers))
    assert order.count("updated") >= 2
    assert order[0] == "updated"
    for peer in peers:
        peer.session.abort("measured")


def test_a_round_is_answered_and_the_residual_is_zero_if_it_cannot_be_updated(monkeypatch: pytest.MonkeyPatch) -> None:
    update, offered = ErrorFeedback.update, {1: set(), 2: set(), 3: set()}

    def failing_in_round_two(feedback: ErrorFeedback, coder: ChunkCoder, group: tuple[str, ...]) -> None:
        update(feedback, coder, group)
        if offered[2]:
            raise RuntimeError("a codec of a plugin")

    class Listener:
        @hookimpl
        def swarm_accept_contribution(self, contribution: ContributionStats) -> str | None:
            offered.setdefault(contribution.round, set()).add(contribution.residual)
            return None

    monkeypatch.setattr(ErrorFeedback, "update", failing_in_round_two)
    swarm = MemorySwarm(world_size=2, codec="int8", sync_interval=1)
    peers = [swarm.peer(name, {"w": np.zeros(1000)}, plugins={"l": Listener()}) for name in NAMES[:2]]
    rng = np.random.default_rng(0)
    steps = {peer.name: rng.normal(size=(3, 1000)) for peer in peers}

    def step(peer: SwarmPeer) -> None:
        peer.arrays["w"] += steps[peer.name][len(peer.reports)]

    together(*(partial(peer.train, 3, step) for peer in peers))
    assert len({peer.digest() for peer in peers}) == 1
    assert all(report.outcome is Outcome.MERGED for peer in peers for report in peer.reports)
    assert offered[1] == {0.0}
    assert min(offered[2]) > 0
    assert offered[3] == {0.0}

"""Rounds that overlap with the training: the resulting bytes, and when the training waits."""

from __future__ import annotations

import itertools
import threading
from functools import partial
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

from swarm.executor import Condition, ThreadExecutor
from swarm.records import Outcome, RoundReport
from swarm.session.platform import Platform
from swarm.tensors.model import Evaluation
from swarm.tensors.state import TensorKind
from swarm.testing.nodes import eventually
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

NAMES = ("ada", "bob")
AMOUNTS = {"ada": 2.0, "bob": 4.0, "cyd": 150.0}


def step(peer: SwarmPeer) -> None:
    peer.arrays["w"] += np.asarray(AMOUNTS[peer.name], peer.arrays["w"].dtype)


def value(peer: SwarmPeer) -> float:
    (only,) = set(peer.arrays["w"].tolist())
    return float(only)


def land(peer: SwarmPeer) -> None:
    """Wait until the answer to what a peer has offered is there."""
    assert peer.session.batches_left == 1, f"{peer.name} has nothing under way"
    eventually(lambda: not peer.session.round_running, f"the round of {peer.name} is over")


def pair(weights: np.ndarray, **settings: object) -> list[SwarmPeer]:
    swarm = MemorySwarm(world_size=2, overlap=True, **settings)
    return [swarm.peer(name, {"w": weights}) for name in NAMES]


DTYPES = {"float64": np.float64, "float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


@pytest.mark.parametrize("name", DTYPES)
def test_what_the_merge_changed_is_added_to_the_steps_made_meanwhile_to_the_byte(name: str) -> None:
    dtype = DTYPES[name]
    wide = np.float64 if dtype is np.float64 else np.float32
    rng = np.random.default_rng(1)
    moves = {(peer, batch): rng.normal(size=40).astype(dtype) for peer in NAMES for batch in range(5)}
    peers = pair(np.zeros(40, dtype), sync_interval=2)
    captures = {peer: moves[peer, 0] + moves[peer, 1] for peer in NAMES}

    def train(peer: SwarmPeer) -> None:
        peer.session.begin()
        for batch in range(3):
            peer.arrays["w"] += moves[peer.name, batch]
            if batch == 2:
                land(peer)
                assert not peer.reports
                before = peer.arrays["w"].copy()
                assert before.tobytes() == (captures[peer.name] + moves[peer.name, 2]).tobytes()
            peer.advance()
        merged = peer.session.reference.segments[name]
        assert not np.array_equal(merged, captures[peer.name])
        change = merged.astype(wide) - captures[peer.name].astype(wide)
        assert peer.arrays["w"].tobytes() == (before.astype(wide) + change).astype(dtype).tobytes()
        peer.session.abort("seen")

    together(*(partial(train, peer) for peer in peers))
    assert [[report.round for report in peer.reports] for peer in peers] == [[1], [1]]


def test_without_steps_meanwhile_the_model_is_the_merged_one(tmp_path: Path) -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2, overlap=True)
    peers = [swarm.peer(name, {"w": np.full(3, 0.1)}, model_dir=tmp_path / name) for name in NAMES]

    def odd(peer: SwarmPeer) -> None:
        peer.arrays["w"] += {"ada": 1 / 3, "bob": 1e9}[peer.name]

    together(*(partial(peer.train, 1, odd) for peer in peers))
    ends = [load_file(tmp_path / name / "local.safetensors")["w"].tobytes() for name in NAMES]
    assert ends[0] == ends[1] == peers[0].arrays["w"].tobytes()


def test_statistics_become_the_merged_ones_while_weights_keep_their_steps() -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2, overlap=True, normalization="pooled")
    kinds = {"mean": TensorKind.MEAN, "seen": TensorKind.COUNTER, "index": TensorKind.STATE}
    arrays = {"w": np.zeros(2), "mean": np.zeros(2), "seen": np.array(0), "index": np.array(0)}
    peers = [
        swarm.peer(name, arrays | {"index": np.array(rank)}, kinds=kinds, sync_interval=9)
        for rank, name in enumerate(NAMES, 1)
    ]

    def train(peer: SwarmPeer) -> None:
        peer.session.begin()
        for batch in range(10):
            step(peer)
            peer.arrays["mean"] += AMOUNTS[peer.name]
            peer.arrays["seen"] += 1
            if batch == 9:
                land(peer)
            peer.advance()
        peer.session.abort("seen")

    together(*(partial(train, peer) for peer in peers))
    founder = peers[0].arrays["index"].tolist()
    assert founder in (1, 2)
    for peer in peers:
        assert value(peer) == 9 * 3 + AMOUNTS[peer.name]
        assert peer.arrays["mean"].tolist() == [27.0] * 2
        assert (peer.arrays["seen"], peer.arrays["index"]) == (9, founder)


def test_the_next_sync_point_is_an_interval_after_the_last_and_waits_for_its_round() -> None:
    ada, bob = pair(np.zeros(2), sync_interval=4)
    come = threading.Event()

    def ahead() -> None:
        ada.session.begin()
        ada.go_on(4, step)
        assert ada.session.batches_left == 1
        ada.go_on(3, step)
        assert ada.session.batches_left == 1
        assert not ada.reports
        come.set()
        ada.go_on(1, step)  # waits for bob, who offers only now
        assert [report.round for report in ada.reports] == [1]
        assert value(ada) == 4 * 3.0 + 4 * 2.0
        land(ada)
        ada.go_on(1, step)
        assert ada.session.batches_left == 3
        ada.session.abort("seen")

    def behind() -> None:
        bob.session.begin()
        bob.go_on(3, step)
        assert come.wait(20)
        bob.go_on(4, step)
        land(bob)
        bob.go_on(1, step)  # four batches after it offered
        land(bob)
        bob.session.abort("seen")

    together(ahead, behind)
    assert ada.reports[0].stall < ada.reports[0].seconds
    assert ada.reports[1].round == 2


def test_nothing_is_captured_or_added_while_a_gradient_is_pending() -> None:
    peers = pair(np.zeros(2), sync_interval=3)

    def train(peer: SwarmPeer) -> None:
        peer.session.begin()
        for _ in range(3):
            step(peer)
            peer.advance(at_boundary=False)
        assert peer.session.batches_left == 0
        step(peer)
        peer.advance()
        land(peer)
        step(peer)
        peer.advance(at_boundary=False)
        assert value(peer) == 5 * AMOUNTS[peer.name]
        step(peer)
        peer.advance()
        assert value(peer) == 4 * 3 + 2 * AMOUNTS[peer.name]
        assert peer.session.batches_left == 1
        peer.session.abort("seen")

    together(*(partial(train, peer) for peer in peers))


def test_a_skip_while_training_goes_on_keeps_all_steps() -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2, overlap=True, straggler_timeout=0.05, failure_timeout=1.0)
    ada, bob = (swarm.peer(name, {"w": np.zeros(2)}) for name in NAMES)
    started = threading.Barrier(2)

    def stay() -> RoundReport:
        ada.session.begin()
        started.wait(20)
        eventually(lambda: not ada.live, "bob is gone")
        ada.go_on(1, step)
        land(ada)
        step(ada)
        ada.advance()
        assert value(ada) == 4.0
        ada.session.abort("seen")
        return ada.reports[0]

    def leave() -> None:
        bob.session.begin()
        started.wait(20)
        bob.session.abort("it had enough")

    report, _ = together(stay, leave)
    assert report.outcome is Outcome.SKIPPED
    assert "below quorum" in report.reason


def test_a_peer_that_heals_in_the_background_keeps_its_steps_and_offers_them_to_the_next_round() -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=3, straggler_timeout=0.2)
    ada, bob, cyd = (swarm.peer(name, {"w": np.zeros(2)}, overlap=name == "cyd") for name in ("ada", "bob", "cyd"))
    merged, offered = threading.Barrier(3), threading.Event()

    def fast(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(1, step)
        merged.wait(20)
        assert offered.wait(20)
        peer.go_on(1, step)
        peer.session.end()

    def slow() -> None:
        cyd.session.begin()
        merged.wait(20)
        cyd.go_on(1, step)
        land(cyd)
        step(cyd)
        cyd.advance()  # takes round 1 over, and offers anew
        assert value(cyd) == 3.0 + 2 * 150
        assert cyd.session.batches_left == 1
        assert not cyd.reports
        eventually(lambda: cyd.merging, "the straggler offers to round 2")
        offered.set()
        cyd.session.end()

    together(partial(fast, ada), partial(fast, bob), slow)
    assert [report.contributors for report in bob.reports] == [("ada", "bob"), ("ada", "bob", "cyd")]
    assert value(cyd) == value(ada) == value(bob) == 3.0 + (2 + 4 + 300) / 3
    assert any(line.startswith("INFO caught up with round 1 from ") for line in cyd.lines)


@pytest.mark.parametrize("batches", [(4, 4), (5, 7), (9, 6), (1, 2)])
@pytest.mark.parametrize(
    "modes", itertools.combinations_with_replacement(("inactive", "snapshot", "active"), 2), ids="-".join
)
def test_all_peers_end_with_the_same_closing_model(modes: tuple[str, str], batches: tuple[int, int]) -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=2, overlap=True)
    peers = [
        swarm.peer(name, {"w": np.zeros(3)}, checkin_model_on_train_end=mode)
        for name, mode in zip(NAMES, modes, strict=True)
    ]
    together(*(partial(peer.train, count, step) for peer, count in zip(peers, batches, strict=True)))
    assert peers[0].digest() == peers[1].digest()
    assert not swarm.addresses  # both have left
    assert all(any("closing model of 2 peers" in line for line in peer.lines) for peer in peers)


def test_the_end_waits_for_the_running_round_and_then_merges_the_last_batches() -> None:
    peers = pair(np.zeros(2), sync_interval=2, checkin_model_on_train_end="inactive")
    together(*(partial(peer.train, 3, step) for peer in peers))
    rounds = [line.split(":")[0] for line in peers[0].lines if line.startswith("INFO round")]
    assert rounds == ["INFO round 1", "INFO round 2", "INFO round 3 (closing)"]
    assert value(peers[0]) == value(peers[1]) == 9.0


def test_an_overlapping_and_a_blocking_peer_merge_with_each_other() -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2)
    ada, bob = (swarm.peer(name, {"w": np.zeros(2)}, overlap=name == "ada") for name in NAMES)
    together(partial(ada.train, 6, step), partial(bob.train, 6, step))
    assert ada.digest() == bob.digest()
    assert all(report.stall == report.seconds for report in bob.reports)
    assert ada.session.metrics()["swarm_stall_seconds"] >= 0.0


def test_a_model_that_is_not_finite_is_replaced_whatever_was_trained_meanwhile() -> None:
    peers = pair(np.zeros(2), sync_interval=1)

    def train(peer: SwarmPeer) -> None:
        peer.session.begin()
        step(peer)
        if peer.name == "bob":
            peer.arrays["w"][1] = np.nan
        peer.advance()
        land(peer)
        step(peer)
        peer.advance()
        peer.session.abort("seen")

    together(*(partial(train, peer) for peer in peers))
    assert [value(peer) for peer in peers] == [4.0, 2.0]


def test_the_evaluator_sees_the_merged_model_and_the_steps_stay() -> None:
    seen: list[float] = []
    swarm = MemorySwarm(sync_interval=1, world_size=2, overlap=True)

    def evaluate() -> Evaluation:
        seen.append(value(ada))
        return Evaluation(loss=1.0)

    ada, bob = (swarm.peer(name, {"w": np.zeros(2)}, evaluate=evaluate if name == "ada" else None) for name in NAMES)

    def train(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(1, step)
        land(peer)
        peer.go_on(1, step)
        assert value(peer) == 3.0 + AMOUNTS[peer.name]
        peer.session.abort("seen")

    together(partial(train, ada), partial(train, bob))
    assert seen == [0.0, 3.0]


class NoMoreLocks(ThreadExecutor):
    """Makes nothing to wait at for an offer in the background."""

    def condition(self) -> Condition:
        if threading.current_thread().name == "swarm-overlap":
            raise RuntimeError("there are no more locks")
        return super().condition()


def test_an_error_in_the_background_is_raised_on_the_training_thread() -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=1, overlap=True)
    ada = swarm.peer("ada", {"w": np.zeros(2)}, platform=Platform(executor=NoMoreLocks()))
    ada.session.begin()
    ada.go_on(1, step)
    land(ada)
    with pytest.raises(RuntimeError, match="no more locks"):
        ada.go_on(1, step)
    ada.session.abort("seen")


def test_the_thread_in_the_background_ends_with_the_run() -> None:
    def in_background() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "swarm-overlap"}

    before = in_background()
    swarm = MemorySwarm(sync_interval=1, world_size=1, overlap=True)
    ada = swarm.peer("ada", {"w": np.zeros(2)})
    ada.session.begin()
    assert len(in_background() - before) == 1
    ada.go_on(3, step)
    ada.session.end()
    eventually(lambda: not in_background() - before, "the thread has ended")


@pytest.mark.parametrize("overlap", [True, False])
def test_the_stall_is_logged_if_it_is_shorter_than_the_round(overlap: bool) -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=1, overlap=overlap)
    ada = swarm.peer("ada", {"w": np.zeros(2)})
    ada.session.begin()
    ada.go_on(1, step)
    if overlap:
        land(ada)
        ada.go_on(1, step)
    (line,) = [line for line in ada.lines if line.startswith("INFO round 1")]
    assert ("training stood still for" in line) is overlap
    ada.session.abort("seen")

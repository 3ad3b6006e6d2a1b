"""Validation of the merged model, and the interval that follows it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from swarm.records import Outcome
from swarm.tensors.model import Evaluation
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

ZEROS = {"w": np.zeros(3, np.float32)}


def step(peer: SwarmPeer) -> None:
    peer.arrays["w"] += 1


def no_loss() -> Evaluation:
    raise ValueError("the labels are gone")


def test_the_evaluator_sees_every_merged_model() -> None:
    seen: list[float] = []
    swarm = MemorySwarm(sync_interval=2, world_size=2)

    def evaluate() -> Evaluation:
        weight = float(ada.arrays["w"][0])
        seen.append(weight)
        return Evaluation(loss=10 - weight, metrics={"accuracy": weight / 10}, samples=5)

    ada = swarm.peer("ada", ZEROS, evaluate=evaluate)
    bob = swarm.peer("bob", ZEROS)
    together(partial(ada.train, 4, step), partial(bob.train, 4, step))
    assert seen == [0.0, 2.0, 4.0, 4.0]  # the initial weights, two rounds, the closing model
    assert [report.loss for report in ada.reports] == [8.0, 6.0]
    assert ada.reports[-1].metrics == {"accuracy": 0.4}
    assert ada.session.metrics()["swarm_val_loss"] == 6.0
    assert ada.session.metrics()["swarm_val_accuracy"] == 0.4
    assert "INFO round 2: 2 peers, 2 contributed" in "\n".join(ada.lines)
    assert any(line.endswith("validation loss 6.0000") for line in ada.lines)
    assert "swarm_val_loss" not in bob.session.metrics()


def test_validation_that_raises_is_logged_once_and_stops_nothing() -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2)

    ada = swarm.peer("ada", ZEROS, evaluate=no_loss)
    bob = swarm.peer("bob", ZEROS)
    together(partial(ada.train, 6, step), partial(bob.train, 6, step))
    assert ada.digest() == bob.digest()
    assert [line for line in ada.lines if line.startswith("WARNING")] == [
        "WARNING validation of the merged model failed, training goes on: ValueError: the labels are gone"
    ]


LOSSES = [1.0, 0.5, 0.25, 0.25, np.nan, 0.1, 0.01, 0.001]


def test_the_interval_follows_the_exchanged_losses_and_is_the_same_everywhere() -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=3, use_adaptive_sync=True)
    weights = {"ada": 1, "bob": 3, "cyd": 0}
    peers = {}
    for name, weight in weights.items():
        losses = iter(LOSSES if name != "cyd" else [loss + 100 for loss in LOSSES])
        peers[name] = swarm.peer(
            name, ZEROS, node_weightage=weight, evaluate=lambda losses=losses: Evaluation(loss=next(losses))
        )

    def train(peer: SwarmPeer) -> None:
        peer.session.begin()
        while len(peer.reports) < 6:
            peer.go_on(1, step)
        peer.session.end()

    together(*(partial(train, peer) for peer in peers.values()))
    intervals = [[report.interval for report in peer.reports] for peer in peers.values()]
    # mark, better, better, no better, not a number, better than the mark of two rounds ago
    assert intervals[0] == [4, 5, 7, 3, 1, 2]
    assert intervals == [intervals[0]] * 3
    assert len({peer.digest() for peer in peers.values()}) == 1


@pytest.mark.parametrize("with_loss", [0, 1])
def test_an_interval_without_losses_stays_the_same(with_loss: int) -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=2, use_adaptive_sync=True)
    losses = iter([3.0, 2.0, 1.0, 1.0])
    ada = swarm.peer("ada", ZEROS, evaluate=(lambda: Evaluation(loss=next(losses))) if with_loss else no_loss)
    bob = swarm.peer("bob", ZEROS, evaluate=no_loss)
    together(partial(ada.train, 9, step), partial(bob.train, 9, step))
    assert [report.interval for report in bob.reports] == ([4, 5] if with_loss else [4, 4])


def test_a_newcomer_gets_the_interval_of_the_swarm() -> None:
    swarm = MemorySwarm(sync_interval=8, min_peers=2, use_adaptive_sync=True)
    losses = iter([4.0, 3.0, 2.0])
    ada = swarm.peer("ada", ZEROS, evaluate=lambda: Evaluation(loss=next(losses)))
    bob, cyd = (swarm.peer(name, ZEROS, evaluate=no_loss) for name in ("bob", "cyd"))

    def found(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(18, step)

    together(partial(found, ada), partial(found, bob))
    assert [report.interval for report in bob.reports] == [8, 10]
    cyd.session.begin()
    assert cyd.session.batches_left == 10
    for peer in (ada, bob, cyd):
        peer.session.abort("the test is over")


@pytest.mark.parametrize("kind", [int, np.float32, np.float64])
def test_a_loss_may_be_any_number(kind: type) -> None:
    """It is signed, and must be the same number at whoever checks that."""
    swarm = MemorySwarm(sync_interval=1, world_size=2)
    peers = [swarm.peer(name, ZEROS, evaluate=lambda: Evaluation(loss=kind(1))) for name in ("ada", "bob")]
    together(*(partial(peer.train, 3, lambda each: None) for peer in peers))
    assert [report.loss for report in peers[0].reports] == [1.0] * 3
    assert {report.outcome for report in peers[0].reports} == {Outcome.MERGED}

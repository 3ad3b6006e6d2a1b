"""The warning that the frozen weights of finished peers pull the model back."""

from __future__ import annotations

import logging
from functools import partial

import numpy as np
import pytest

from swarm.messages import Entry
from swarm.records import PeerStatus
from swarm.session.frozen import FrozenWeights, Pull, pull_of
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

TRAINING, EXTENDED, INACTIVE, SNAPSHOT, ACTIVE = PeerStatus
NAMES = ("ada", "bob", "cyd")


def entries(pull: float = 1.0, progress: float = 1.0) -> tuple[Entry, ...]:
    """Two finished peers of weight 1, and a training one of weight 2."""
    return (
        Entry("ada", 1, SNAPSHOT, 4 * pull),
        Entry("bob", 1, ACTIVE),
        Entry("cyd", 2, TRAINING, 2 * progress),
    )


def test_the_pull_is_the_weighted_distance_of_frozen_weights_and_progress_that_of_the_others() -> None:
    assert pull_of(entries(3.0, 0.5), NAMES) == Pull(("ada",), 0.25, 3.0, 0.5)
    extended = (Entry("ada", 3, SNAPSHOT, 1.0), Entry("bob", 1, EXTENDED, 2.0))
    assert pull_of(extended, NAMES) == Pull(("ada",), 0.75, 0.75, 0.5)


@pytest.mark.parametrize(
    "group",
    [
        (),
        (Entry("ada", 1, TRAINING, 1.0),),
        (Entry("ada", 1, SNAPSHOT, 1.0),),
        (Entry("ada", 0, SNAPSHOT, 1.0), Entry("bob", 1, TRAINING, 1.0)),
        (Entry("ada", 1, ACTIVE, 0.0), Entry("bob", 1, TRAINING, 1.0)),
    ],
    ids=["nobody", "all train", "nobody trains", "without a weight", "the last model again"],
)
def test_without_frozen_weights_or_training_peers_there_is_none(group: tuple[Entry, ...]) -> None:
    assert pull_of(group, NAMES) is None


def test_what_is_not_merged_does_not_count() -> None:
    assert pull_of(entries(), ("bob", "cyd")) is None


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture):
    """What a peer says after rounds with these quotients of pull and progress."""

    def said(*quotients: float) -> list[str]:
        caplog.clear()
        frozen = FrozenWeights(logging.getLogger("swarm.test"))
        for number, quotient in enumerate(quotients, 1):
            frozen.look(number, entries(pull=quotient), NAMES)
        return [record.getMessage() for record in caplog.records]

    return said


def test_two_rounds_in_a_row_give_one_warning_with_the_figures_and_the_remedies(said) -> None:
    (text,) = said(0.5, 1.5, 1.25, 9.0, 9.0)
    assert text.startswith(
        "round 3: the frozen weights of ada, finished, have 25 % of the weight and pull the model back by 1.25; "
        "the peers that train move it by 1, "
    )
    for remedy in ('train_until="all"', 'checkin_model_on_train_end="active"', 'node_weightage="samples"'):
        assert remedy in text
    assert text.endswith("See docs/choosing.md")


@pytest.mark.parametrize("quotients", [(1.0, 1.0, 1.0), (5.0,), (5.0, 0.5, 5.0), ()], ids=str)
def test_less_or_a_single_round_gives_none(said, quotients: tuple[float, ...]) -> None:
    assert said(*quotients) == []


@pytest.mark.parametrize("mode", ["snapshot", "active", "inactive"])
def test_each_peer_warns_of_a_peer_that_has_finished_long_before_the_others(mode: str) -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=3, straggler_timeout=20.0, checkin_model_on_train_end=mode)
    peers = [swarm.peer(name, {"w": np.zeros(3)}) for name in NAMES]

    def step(peer: SwarmPeer) -> None:
        peer.arrays["w"] += 1.0 if len(peer.reports) < 8 else 0.25  # as with a decaying learning rate

    together(*(partial(peer.train, batches, step) for peer, batches in zip(peers, (4, 4, 60), strict=True)))
    warnings = [[line for line in peer.lines if line.startswith("WARNING")] for peer in peers]
    assert [len(lines) for lines in warnings] == [int(mode == "snapshot")] * 3
    frozen = "the frozen weights of ada, bob, finished, have 67 % of the weight"
    assert all(frozen in line for lines in warnings for line in lines)

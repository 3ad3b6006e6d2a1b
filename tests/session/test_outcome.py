"""What a session leaves for the launcher that started its process."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from swarm.errors import StartTimeoutError
from swarm.membership.outcomes import DIRECTORY, outcomes
from swarm.session.files import FINAL
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together


@pytest.fixture
def rendezvous(tmp_path: Path) -> Path:
    (tmp_path / DIRECTORY).mkdir()
    return tmp_path


def step(peer: SwarmPeer) -> None:
    peer.arrays["w"] += 1


def pair(rendezvous: Path, **settings: object) -> list[SwarmPeer]:
    swarm = MemorySwarm(world_size=2, sync_interval=2, rendezvous=rendezvous, **settings)
    return [swarm.peer(f"peer-{rank}", {"w": np.zeros(4)}, rank=rank) for rank in range(2)]


def test_a_closed_session_leaves_its_last_round_its_digest_and_its_file(rendezvous: Path) -> None:
    peers = pair(rendezvous, model_dir=rendezvous / "models")
    together(*(partial(peer.train, 4, step) for peer in peers))
    left = outcomes(rendezvous)
    assert [(outcome.rank, outcome.ended, outcome.closing) for outcome in left] == [(0, True, True), (1, True, True)]
    assert {outcome.round for outcome in left} == {peers[0].session._engine.commit.round}
    assert {outcome.digest for outcome in left} == {peers[0].digest()}
    # the two share a directory, so the second writes to one of its own
    assert {outcome.file for outcome in left} == {str(peer.session.result) for peer in peers}
    assert str(rendezvous / "models" / FINAL) in {outcome.file for outcome in left}
    assert left[0].bytes_sent == left[1].bytes_received > 0


def test_a_session_that_is_left_says_why(rendezvous: Path) -> None:
    peers = pair(rendezvous)
    together(*(peer.session.begin for peer in peers))
    together(*(partial(peer.go_on, 2, step) for peer in peers))
    for peer in peers:
        peer.session.abort("training ended without on_train_end")
    for outcome in outcomes(rendezvous):
        assert (outcome.ended, outcome.closing, outcome.round) == (True, False, 1)
        assert outcome.reason == "training ended without on_train_end"


def test_a_session_that_was_not_left_is_known_to_have_begun(rendezvous: Path) -> None:
    peers = pair(rendezvous)
    together(*(peer.session.begin for peer in peers))
    assert [(outcome.ended, outcome.closing) for outcome in outcomes(rendezvous)] == [(False, False)] * 2
    for peer in peers:
        peer.session.abort("the test is over")


def test_a_start_that_failed_has_no_closing_model(rendezvous: Path) -> None:
    peer, _ = pair(rendezvous, start_timeout=0.2)
    with pytest.raises(StartTimeoutError):
        peer.session.begin()
    (outcome,) = outcomes(rendezvous)
    assert (outcome.ended, outcome.closing, outcome.reason) == (True, False, "the start failed")


def test_who_trains_alone_leaves_nothing(rendezvous: Path) -> None:
    peer = MemorySwarm(loopback=True, rendezvous=rendezvous, rank=0).peer("a", {"w": np.zeros(1)})
    peer.train(2, step)
    assert outcomes(rendezvous) == []

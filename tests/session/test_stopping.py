"""The operators of more than half of the sites can end the training of all; fewer cannot."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from swarm.storage.stop_request import NAME, StopRequest, ask
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

ZEROS = {"w": np.zeros(3)}
MOST = 30


def step(peer: SwarmPeer) -> None:
    peer.arrays["w"] += 1


def train(peer: SwarmPeer, place: Path, asks_at: int | None) -> int:
    """Train until the swarm says to stop; returns how many batches."""
    peer.session.begin()
    batches = 0
    while not peer.session.should_stop and batches < MOST:
        if batches == asks_at:
            ask(place)
        peer.go_on(1, step)
        batches += 1
    peer.session.end()
    return batches


def run(tmp_path: Path, **asks_at: int | None) -> tuple[list[int], list[SwarmPeer]]:
    swarm = MemorySwarm(sync_interval=1, world_size=len(asks_at))
    places = {name: tmp_path / name for name in asks_at}
    for place in places.values():
        place.mkdir()
    peers = [swarm.peer(name, ZEROS, model_dir=places[name]) for name in asks_at]
    batches = together(*(partial(train, peer, places[peer.name], asks_at[peer.name]) for peer in peers))
    return batches, peers


def test_the_training_ends_at_all_once_more_than_half_have_asked(tmp_path: Path) -> None:
    batches, peers = run(tmp_path, ada=3, bob=6, cyd=None)
    assert len({*batches}) == 1
    assert 6 < batches[0] < MOST
    assert len({peer.digest() for peer in peers}) == 1
    for peer in peers:
        assert peer.session.should_stop, "it stays true when training has ended"
        assert any("ada asked to end the training" in line and "half of the 3 sites" in line for line in peer.lines)
        assert any("the training ends at all peers" in line for line in peer.lines)


def test_one_of_three_cannot_end_it(tmp_path: Path) -> None:
    batches, peers = run(tmp_path, ada=3, bob=None, cyd=None)
    assert batches == [MOST] * 3
    assert not any("the training ends at all peers" in line for peer in peers for line in peer.lines)


def test_a_peer_that_is_alone_can_end_it(tmp_path: Path) -> None:
    swarm = MemorySwarm(sync_interval=1, min_peers=1, world_size=1)
    peer = swarm.peer("ada", ZEROS, model_dir=tmp_path)
    assert 2 < train(peer, tmp_path, 2) < MOST


def test_a_request_of_an_earlier_run_does_not_count(tmp_path: Path) -> None:
    ask(tmp_path)
    request = StopRequest([tmp_path])
    assert not request.asked
    (tmp_path / NAME).unlink()
    assert not request.asked
    ask(tmp_path)
    assert request.asked
    (tmp_path / NAME).unlink()
    assert request.asked


def test_all_peers_below_a_directory_are_asked(tmp_path: Path) -> None:
    for rank in range(2):
        (tmp_path / f"peer-{rank}" / "swarm-state").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    assert ask(tmp_path) == [tmp_path / NAME, tmp_path / "peer-0" / NAME, tmp_path / "peer-1" / NAME]


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ask(tmp_path / "nothing")

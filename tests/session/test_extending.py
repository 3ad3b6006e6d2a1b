"""Peers that train on until every live peer has trained its own epochs."""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
import pytest

from swarm.errors import IncompatiblePeerError
from swarm.testing.nodes import eventually
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

EPOCH = 4
"""Batches of an epoch of every peer."""


def step(peer: SwarmPeer) -> None:
    peer.arrays["w"] += 1


def trains(peer: SwarmPeer, epochs: int, length: int = EPOCH) -> int:
    """A run of so many epochs and as many more as are asked for; the number of batches."""
    session, batches = peer.session, 0
    session.begin()
    epoch = 0
    while epoch < epochs or session.extend():
        for _ in range(length):
            if session.all_done:
                break
            peer.go_on(1, step)
            batches += 1
        epoch += 1
    session.end()
    return batches


def peers_of(count: int, **settings: object) -> list[SwarmPeer]:
    swarm = MemorySwarm(**{"sync_interval": 4, "world_size": count, "straggler_timeout": 20.0, **settings})
    return [swarm.peer(f"peer-{number}", {"w": np.zeros(3)}) for number in range(count)]


def warnings(*peers: SwarmPeer) -> list[str]:
    return [line for peer in peers for line in peer.lines if line.startswith(("WARNING", "ERROR"))]


@pytest.mark.parametrize("overlap", [False, True])
def test_peers_of_unequal_epochs_make_the_same_number_of_steps(overlap: bool) -> None:
    peers = peers_of(3, train_until="all", overlap=overlap)
    batches = together(*(partial(trains, peer, epochs) for peer, epochs in zip(peers, (1, 2, 5), strict=True)))
    assert batches[2] == 20
    assert all(20 <= count <= 24 for count in batches)
    assert len({peer.digest() for peer in peers}) == 1
    assert not warnings(*peers)
    assert "INFO peer-0 has trained its own epochs, and trains on until all peers have" in peers[0].lines
    assert all(
        f"INFO all peers have trained their own epochs: {peer.name} trains no further" in peer.lines for peer in peers
    )


@pytest.mark.parametrize("length", [EPOCH, 6], ids=["on a sync point", "between two"])
def test_peers_of_equal_length_train_their_own_epochs_exactly(length: int) -> None:
    peers = peers_of(2, train_until="all")
    assert together(*(partial(trains, peer, 3, length) for peer in peers)) == [3 * length] * 2
    assert not warnings(*peers)
    assert len({peer.digest() for peer in peers}) == 1
    assert peers[0].arrays["w"].tolist() == [3.0 * length] * 3


def test_a_peer_that_has_no_new_steps_at_the_end_of_its_epochs_holds_the_others_back_in_no_round() -> None:
    """Ada's epochs end at a sync point: in the next round she has weight 0."""
    ada, bob = peers_of(2, train_until="all")
    assert together(partial(trains, ada, 1), partial(trains, bob, 2)) == [8, 8]
    assert [report.contributors for report in bob.reports] == [("peer-0", "peer-1"), ("peer-1",)]
    assert bob.arrays["w"].tolist() == [4.0 + 4.0 + 4.0] * 3  # of both, of bob alone, and of ada alone


def test_by_default_a_peer_trains_its_own_epochs_only() -> None:
    peers = peers_of(2)
    assert together(*(partial(trains, peer, epochs) for peer, epochs in zip(peers, (1, 3), strict=True))) == [4, 12]


def test_alone_on_purpose_nothing_is_asked() -> None:
    (peer,) = peers_of(1, train_until="all", loopback=True)
    assert trains(peer, 2) == 8


def test_batches_after_the_last_round_are_merged_when_training_ends() -> None:
    """Bob's loop does not look whether all are done: it ends with its epoch."""
    ada, bob = peers_of(2, train_until="all", checkin_model_on_train_end="inactive")

    def train_bob() -> None:
        bob.session.begin()
        bob.go_on(4, step)
        while bob.session.extend():
            bob.go_on(10, step)
        assert bob.session.all_done
        assert bob.session.batches_left > 10**6
        bob.session.end()

    together(partial(trains, ada, 2), train_bob)
    assert ada.digest() == bob.digest()
    assert not warnings(ada, bob)
    assert max(report.round for report in ada.reports) <= 3
    assert bob.arrays["w"].tolist() == [8.0 + 10.0] * 3  # ada's epochs, and one of bob's after his own


def test_epochs_without_batches_do_not_turn_in_circles() -> None:
    ada, bob = peers_of(2, train_until="all")
    asked = []

    def train_ada() -> None:
        ada.session.begin()
        while ada.session.extend():
            asked.append(ada.session.commit)
        ada.session.end()

    together(train_ada, partial(trains, bob, 3))
    assert 1 <= len(asked) <= 4
    assert bob.arrays["w"].tolist() == [12.0] * 3


@pytest.mark.parametrize("how", ["leaves", "is killed"])
def test_nobody_trains_on_for_a_peer_that_is_gone(how: str) -> None:
    swarm = MemorySwarm(
        sync_interval=4, world_size=3, min_peers=2, train_until="all", straggler_timeout=0.2, failure_timeout=1.0
    )
    ada, bob, cyd = (swarm.peer(name, {"w": np.zeros(3)}) for name in ("ada", "bob", "cyd"))
    gone = threading.Event()

    def train_cyd() -> None:
        cyd.session.begin()
        cyd.go_on(4, step)
        eventually(lambda: extended(ada) and extended(bob), "the others train on")
        swarm.kill(cyd) if how == "is killed" else cyd.session.abort("had enough")
        gone.set()

    together(partial(trains, ada, 1), partial(trains, bob, 1), train_cyd)
    assert gone.is_set()
    assert ada.digest() == bob.digest()
    assert any("closing model of 2 peers" in line for line in ada.lines)


def extended(peer: SwarmPeer) -> bool:
    return any("trains on until all peers have" in line for line in peer.lines)


def test_a_peer_that_is_left_alone_does_not_train_on_for_ever() -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=2, train_until="all", straggler_timeout=0.2, failure_timeout=1.0)
    ada, bob = (swarm.peer(name, {"w": np.zeros(3)}) for name in ("ada", "bob"))

    def train_bob() -> None:
        bob.session.begin()
        bob.go_on(4, step)
        bob.session.abort("had enough")

    together(partial(trains, ada, 1), train_bob)
    assert "INFO no round is possible: ada trains no further" in ada.lines


def test_a_peer_that_has_finished_early_is_not_trained_for() -> None:
    """Bob's loop ends before its last epoch, as with early stopping."""
    ada, bob = peers_of(2, train_until="all")

    def train_bob() -> None:
        bob.session.begin()
        bob.go_on(4, step)
        bob.session.end()

    assert together(partial(trains, ada, 2), train_bob)[0] == 8
    assert ada.digest() == bob.digest()


def test_a_newcomer_trains_its_own_epochs_after_all_others_are_done() -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=2, train_until="all", straggler_timeout=5.0)
    ada, bob = (swarm.peer(name, {"w": np.zeros(3)}) for name in ("ada", "bob"))
    cyd = swarm.peer("cyd", {"w": np.zeros(3)})
    joined = threading.Event()

    def train_bob() -> None:
        bob.session.begin()
        bob.go_on(8, step)
        assert joined.wait(20)
        while bob.session.extend():
            bob.go_on(4, step)
        bob.session.end()

    def train_cyd() -> int:
        eventually(lambda: extended(ada), "ada trains on")
        cyd.session.begin()
        joined.set()
        batches = 0
        for _ in range(3):
            cyd.go_on(4, step)
            batches += 4
        while cyd.session.extend():
            cyd.go_on(4, step)
            batches += 4
        cyd.session.end()
        return batches

    *_, batches = together(partial(trains, ada, 1), train_bob, train_cyd)
    assert batches == 12
    assert len({peer.digest() for peer in (ada, bob, cyd)}) == 1


def test_the_status_says_in_words_that_a_peer_trains_on() -> None:
    ada, bob = peers_of(2, train_until="all", total_epochs=1)
    seen, looked = [], threading.Event()

    def train_ada() -> None:
        ada.session.begin()
        ada.go_on(4, step)
        while ada.session.extend():
            seen.append(ada.session.status())
            assert looked.wait(20)
            ada.go_on(4, step)
        ada.session.end()

    def train_bob() -> None:
        bob.session.begin()
        bob.go_on(8, step)
        eventually(lambda: extended(ada), "ada trains on")
        looked.set()
        bob.session.end()

    together(train_ada, train_bob)
    assert seen[0]["status"] == "training on for others"
    assert seen[0]["seconds_left"] is None


def test_peers_must_agree_whether_they_train_on_and_the_default_is_not_declared() -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=2)
    ada, bob = swarm.peer("ada", {"w": np.zeros(3)}, train_until="all"), swarm.peer("bob", {"w": np.zeros(3)})
    refused = []

    def begin(peer: SwarmPeer) -> None:
        with pytest.raises(IncompatiblePeerError) as raised:
            peer.session.begin()
        refused.append(str(raised.value))

    together(partial(begin, ada), partial(begin, bob))
    assert any("train_until is all at ada and own at bob" in text for text in refused) or any(
        "train_until is own at bob and all at ada" in text for text in refused
    )

"""Several sessions on one network: they share no round, and report each other's peers."""

from __future__ import annotations

from functools import partial

import numpy as np

from swarm.testing.swarm import MemorySwarm, SwarmPeer, together


def adding(amount: float):
    def step(peer: SwarmPeer) -> None:
        peer.arrays["w"] += amount

    return step


def test_sessions_of_one_network_never_meet() -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2)
    wards = {
        (model_name, name): swarm.peer(name, {"w": np.zeros(size)}, model_name=model_name)
        for model_name, size in (("heart", 3), ("lung", 5))
        for name in ("ada", "bob")
    }
    amounts = {"heart": 1.0, "lung": 10.0}
    together(*(partial(peer.train, 4, adding(amounts[key[0]])) for key, peer in wards.items()))
    for (model_name, _), peer in wards.items():
        assert peer.arrays["w"].tolist() == [4 * amounts[model_name]] * peer.arrays["w"].size
        assert [report.group for report in peer.reports] == [("ada", "bob")] * 2
        assert not [line for line in peer.lines if line.startswith("WARNING")]


def test_a_peer_of_another_session_reports_peers_of_this_one() -> None:
    """The two of session 'lung' know the address of a peer of session 'heart', and nothing of each other."""
    heart = MemorySwarm(min_peers=1, straggler_timeout=0.0)
    inbox = heart.peer("inbox", {"w": np.zeros(1)}, model_name="heart")
    inbox.session.begin()
    peers = []
    for name in ("ada", "bob"):
        alone = MemorySwarm(sync_interval=2, min_peers=2, model_name="lung")
        alone.network = heart.network
        alone.addresses.update(heart.addresses)
        peers.append(alone.peer(name, {"w": np.zeros(2)}))
    ada, bob = peers
    together(partial(ada.train, 3, adding(1.0)), partial(bob.train, 3, adding(3.0)))
    assert ada.arrays["w"].tolist() == bob.arrays["w"].tolist() == [6.0, 6.0]
    assert not [line for peer in (inbox, ada, bob) for line in peer.lines if line.startswith("WARNING")]
    inbox.session.abort("the test is over")

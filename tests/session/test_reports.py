"""What the report of a round says."""

from __future__ import annotations

from functools import partial

import numpy as np

from swarm.testing.swarm import MemorySwarm, SwarmPeer, together


def step(peer: SwarmPeer) -> None:
    peer.arrays["w"] += {"ada": 1.0, "bob": 3.0}[peer.name]


def test_a_report_names_the_committed_model() -> None:
    swarm = MemorySwarm(sync_interval=2, world_size=2)
    ada, bob = swarm.peer("ada", {"w": np.zeros(1)}), swarm.peer("bob", {"w": np.zeros(1)})

    def train(peer: SwarmPeer) -> tuple[str, str]:
        peer.session.begin()
        peer.go_on(2, step)
        merged = peer.digest()
        peer.session.end()
        (report,) = peer.reports
        assert report.digest == merged
        return report.lineage, report.digest

    ours, theirs = together(partial(train, ada), partial(train, bob))
    assert ours == theirs
    assert all(ours)

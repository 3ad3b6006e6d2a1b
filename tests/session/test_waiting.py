"""Which peers a sync point waits for, and what a round without contributors does not change."""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
import pytest

from swarm.records import Outcome
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together


def step(peer: SwarmPeer) -> None:
    peer.arrays["w"] += 1


@pytest.mark.parametrize("overlap", [False, True])
def test_a_live_peer_that_does_not_offer_is_waited_for_once(overlap: bool) -> None:
    """As one whose loop has failed, and whose error somebody keeps."""
    swarm = MemorySwarm(sync_interval=4, world_size=2, failure_timeout=1.0, overlap=overlap)
    ada, bob = swarm.peer("ada", {"w": np.zeros(1)}), swarm.peer("bob", {"w": np.zeros(1)})
    together(ada.session.begin, bob.session.begin)
    ada.go_on(20, step)
    reasons = [report.reason for report in ada.reports]
    assert len(reasons) >= 4
    assert reasons[0].startswith("bob did not reach a sync point within")
    assert all("since the last wait for them timed out" in reason for reason in reasons[1:])
    assert ada.arrays["w"].tolist() == [20.0]
    ada.session.abort("seen")
    bob.session.abort("seen")


def test_if_the_only_peer_with_a_weight_dies_the_others_keep_their_steps() -> None:
    swarm = MemorySwarm(sync_interval=4, world_size=3, failure_timeout=1.0, straggler_timeout=0.1)
    ada = swarm.peer("ada", {"w": np.zeros(1)})
    rest = [swarm.peer(name, {"w": np.zeros(1)}, node_weightage=0) for name in ("bob", "cyd")]
    dead = threading.Event()

    def dies() -> None:
        ada.session.begin()
        ada.go_on(4, step)
        swarm.kill(ada)
        dead.set()

    def goes_on(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(4, step)
        dead.wait(20)
        peer.go_on(12, step)

    together(dies, *(partial(goes_on, peer) for peer in rest))
    for peer in rest:
        assert peer.arrays["w"].tolist() == [16.0]
        assert [report.outcome for report in peer.reports[1:]] == [Outcome.SKIPPED] * 3
        assert [report.contributors for report in peer.reports[1:]] == [()] * 3
        peer.session.abort("seen")
    ada.session.abort("dead")

"""A peer that votes for a round without taking part in it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from swarm.consensus import machine
from swarm.consensus.paxos import leader_order
from swarm.messages import Accept, Envelope
from swarm.records import Outcome
from swarm.testing.nodes import eventually
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

if TYPE_CHECKING:
    import pytest

NAMES = ("ada", "bob", "cyd")


def adding(peer: SwarmPeer, amount: float) -> None:
    peer.arrays["w"] += amount
    peer.advance()


def test_a_peer_that_only_votes_keeps_its_steps_for_the_next_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Round 1 closes without the late peer; as another member hears no request to accept, its vote is needed.

    It fetches the merged model for that and commits it while its own offer waits.
    """
    leader, deaf, late = leader_order("swarm_model", 1, NAMES)
    swarm = MemorySwarm(sync_interval=1, world_size=3, straggler_timeout=0.2)
    peers = {name: swarm.peer(name, {"w": np.zeros(4)}) for name in NAMES}
    asked, voting = threading.Event(), threading.Event()

    def passes(address: str, envelope: Envelope) -> bool:
        message, to = envelope.message, {at: name.partition("/")[2] for name, at in swarm.addresses.items()}[address]
        if not isinstance(message, Accept) or message.proposal.round != 1:
            return True
        if to == deaf:
            asked.set()
        return to != deaf and (to != late or voting.is_set())

    swarm.network.passes = passes
    monkeypatch.setattr(machine, "RETRY", 0.05)

    def on_time(peer: SwarmPeer, amount: float) -> None:
        peer.session.begin()
        adding(peer, amount)
        slow = peers[late]
        eventually(lambda: slow.session.commit.round == 1 and slow.merging, "the late one offers to round 2")
        adding(peer, amount)
        peer.session.end()

    def behind() -> None:
        peer = peers[late]
        peer.session.begin()
        assert asked.wait(20)

        def vote() -> None:
            eventually(lambda: peer.merging, "it has offered")
            voting.set()

        threading.Thread(target=vote, daemon=True).start()
        adding(peer, 300.0)
        peer.session.end()

    together(lambda: on_time(peers[leader], 2.0), lambda: on_time(peers[deaf], 4.0), behind)
    assert peers[leader].reports[0].group == tuple(sorted((leader, deaf)))
    (report,) = peers[late].reports
    assert (report.outcome, report.round, report.contributors) == (Outcome.MERGED, 2, NAMES)
    assert [peer.arrays["w"].tolist() for peer in peers.values()] == [[3.0 + (2 + 4 + 300) / 3] * 4] * 3

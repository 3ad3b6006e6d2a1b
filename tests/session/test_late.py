"""A round that is decided after a peer has skipped it."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from swarm.consensus.paxos import leader_order
from swarm.messages import Accept, Envelope
from swarm.peer.exchanger import Exchanger
from swarm.records import Outcome
from swarm.testing.nodes import eventually
from swarm.testing.swarm import MemorySwarm, SwarmPeer, together

NAMES = ("ada", "bob", "cyd")


@pytest.mark.parametrize("overlap", [False, True], ids=["blocking", "overlapping"])
@pytest.mark.parametrize("accepts", [True, False], ids=["accepted", "only ready"])
def test_a_commit_after_a_skip_keeps_the_steps_made_meanwhile(
    accepts: bool, overlap: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last word on round 1 does not reach one peer; it skips, trains on, and learns of the commit later."""
    late = leader_order("swarm_model", 1, NAMES)[-1]
    others = [name for name in NAMES if name != late]
    swarm = MemorySwarm(sync_interval=1, world_size=3, straggler_timeout=20.0)
    peers = {
        name: swarm.peer(
            name, {"w": np.zeros(4)}, failure_timeout=0.2 if name == late else 20.0, overlap=overlap and name == late
        )
        for name in NAMES
    }
    asked, skipped, back = threading.Event(), threading.Event(), threading.Event()

    def passes(address: str, envelope: Envelope) -> bool:
        """Whether a message to the late one arrives: nothing does from the last word on until it has skipped."""
        if swarm.addresses.get(f"swarm_model/{late}") not in (address, envelope.address) or skipped.is_set():
            return True
        last_word = isinstance(envelope.message, Accept) and envelope.message.proposal.round == 1
        if last_word and envelope.sender != late and not asked.is_set():
            asked.set()
            return accepts
        return not asked.is_set()

    swarm.network.passes = passes
    stood: list[bool] = []
    update = Exchanger.update_residual

    def carrying(exchanger: Exchanger, digest: str, *, stands: bool) -> None:
        stood.append(stands)
        update(exchanger, digest, stands=stands)

    monkeypatch.setattr(Exchanger, "update_residual", carrying)

    def cut_off() -> None:
        assert asked.wait(20)
        for other in others:
            swarm.network.cut(swarm.addresses[f"swarm_model/{late}"], swarm.addresses[f"swarm_model/{other}"])

    def step(peer: SwarmPeer) -> None:
        peer.arrays["w"] += 3.0

    def on_time(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(1, step)
        assert back.wait(20)
        peer.go_on(1, step)
        peer.session.end()

    def ended(peer: SwarmPeer) -> None:
        eventually(lambda: not peer.session.round_running, "the round is skipped")

    def skip_again(peer: SwarmPeer) -> None:
        """Pass another sync point while the capture may still be merged."""
        ended(peer)
        peer.go_on(1, step)
        ended(peer)

    def behind(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(1, step)
        if overlap:
            skip_again(peer)
        skipped.set()
        assert peer.reports[0].outcome is Outcome.SKIPPED
        for other in others:
            swarm.network.restore(swarm.addresses[f"swarm_model/{late}"], swarm.addresses[f"swarm_model/{other}"])
        eventually(lambda: peer.session.commit.round == 1, "it learns of the commit")
        for each in peers.values():
            eventually(lambda each=each: len(each.live) == 2, f"{each.name} has met the others again")
        back.set()
        peer.arrays["w"] += 294.0 if overlap else 297.0
        peer.go_on(1, step)
        peer.session.end()

    together(*(lambda peer=peers[name]: on_time(peer) for name in others), lambda: behind(peers[late]), cut_off)
    on_end = [late] if overlap else []
    assert [peer.reports[-1].group for peer in peers.values() if peer.name not in on_end] == [NAMES] * (3 - len(on_end))
    assert {peer.digest() for peer in peers.values()} == {peers[late].digest()}
    assert "INFO round 1 was decided after its sync point; it is merged in now" in peers[late].lines
    assert [peer.session.metrics()["swarm_rounds"] for peer in peers.values()] == [3, 3, 3]
    assert peers[late].arrays["w"].tolist() == [3.0 + (3 + 3 + 300) / 3] * 4
    # A codec must not look at the late one's capture any more: training has gone on.
    assert stood.count(False) == 1

"""What comes of a round that is decided after a peer has stopped waiting for it."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from swarm.consensus.paxos import leader_order
from swarm.messages import Accept, Envelope
from swarm.peer.engine import Engine
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
    deliver = Engine.receive

    def receive(engine: Engine, envelope: Envelope) -> None:
        message = envelope.message
        last_word = isinstance(message, Accept) and message.proposal.round == 1 and engine._me.name == late
        if last_word and not asked.is_set():
            asked.set()
            for other in others:
                swarm.network.cut(swarm.addresses[f"swarm_model/{late}"], swarm.addresses[f"swarm_model/{other}"])
            if accepts:
                deliver(engine, envelope)
        elif engine._me.name != late or not asked.is_set() or skipped.is_set():
            # What was under way to the late one when its links were cut is lost.
            deliver(engine, envelope)

    monkeypatch.setattr(Engine, "receive", receive)
    stood: dict[str, list[bool]] = {name: [] for name in NAMES}
    update = Exchanger.update_residual

    def carrying(exchanger: Exchanger, digest: str, *, stands: bool) -> None:
        stood[exchanger._me.name].append(stands)
        update(exchanger, digest, stands=stands)

    monkeypatch.setattr(Exchanger, "update_residual", carrying)

    def step(peer: SwarmPeer) -> None:
        peer.arrays["w"] += 3.0

    def on_time(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(1, step)
        assert back.wait(20)
        peer.go_on(1, step)
        peer.session.end()

    def skip_again(peer: SwarmPeer) -> None:
        """Pass another sync point while the capture may still be merged."""
        pending, weights = peer.session._pending, peer.session._weights
        eventually(lambda: pending.ready, "the round is skipped")
        peer.go_on(1, step)
        assert peer.session._pending is not pending
        eventually(lambda: peer.session._pending.ready, "the next one is skipped too")
        assert weights.capture.segments["float64"].tolist() == [3.0] * 4

    def behind(peer: SwarmPeer) -> None:
        peer.session.begin()
        peer.go_on(1, step)
        if overlap:
            skip_again(peer)
        skipped.set()
        assert peer.reports[0].outcome is Outcome.SKIPPED
        for other in others:
            swarm.network.restore(swarm.addresses[f"swarm_model/{late}"], swarm.addresses[f"swarm_model/{other}"])
        engine = peer.session._engine
        assert engine is not None
        eventually(lambda: engine.commit is not None and engine.commit.round == 1, "it learns of the commit")
        for each in peers.values():
            eventually(lambda each=each: len(each.session._engine.met) == 2, f"{each.name} has met the others again")
        back.set()
        peer.arrays["w"] += 294.0 if overlap else 297.0
        peer.go_on(1, step)
        peer.session.end()

    together(*(lambda peer=peers[name]: on_time(peer) for name in others), lambda: behind(peers[late]))
    on_end = [late] if overlap else []
    assert [peer.reports[-1].group for peer in peers.values() if peer.name not in on_end] == [NAMES] * (3 - len(on_end))
    assert {peer.digest() for peer in peers.values()} == {peers[late].digest()}
    assert "INFO round 1 was decided after its sync point; it is merged in now" in peers[late].lines
    assert [peer.session.metrics()["swarm_rounds"] for peer in peers.values()] == [3, 3, 3]
    assert peers[late].arrays["w"].tolist() == [3.0 + (3 + 3 + 300) / 3] * 4
    # A codec must not look at the late one's capture any more: training has gone on.
    assert overlap or [stood[name][1] for name in NAMES] == [name != late for name in NAMES]

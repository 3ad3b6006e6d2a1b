"""What the report of a round says."""

from __future__ import annotations

import threading
from functools import partial

import numpy as np

from swarm.testing.nodes import eventually
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


def test_a_report_and_its_line_split_the_seconds_into_waiting_for_whom_and_merging() -> None:
    swarm = MemorySwarm(sync_interval=1, world_size=2)
    ada, bob = swarm.peer("ada", {"w": np.zeros(1)}), swarm.peer("bob", {"w": np.zeros(1)})
    offered = threading.Event()

    def early() -> None:
        ada.session.begin()
        ada.go_on(1, step)
        ada.session.end()

    def late() -> None:
        bob.session.begin()
        eventually(lambda: ada.merging, "the other has offered")
        offered.wait(0.2)  # what it is for: the time that the other waits
        bob.go_on(1, step)
        bob.session.end()

    together(early, late)
    waited, wait = ada.reports[0], bob.reports[0]
    assert waited.waited_for == ("bob",)
    assert 0.2 <= waited.waited <= waited.seconds
    assert (wait.waited_for, wait.waited < 0.2) == ((), True)
    (line,) = [line for line in ada.lines if line.startswith("INFO round 1:")]
    phrase = f" ({waited.waited:.2f} s waiting for bob, {waited.seconds - waited.waited:.2f} s merging)"
    assert f"{waited.seconds:.2f} s{phrase}" in line
    assert not any("waiting for ada" in line for line in bob.lines)

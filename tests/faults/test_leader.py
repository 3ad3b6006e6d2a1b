"""A leader, or a member, dies at one certain message of a round."""

from __future__ import annotations

import signal

import pytest

from swarm.consensus.paxos import leader_order

NAMES = ("ada", "bob", "cyd", "dan")
ROUND = 4
"""As in harm.py."""


@pytest.mark.parametrize("moment", ["decided", "decided-once"])
def test_the_leader_dies_between_deciding_and_telling(training, moment: str) -> None:
    leader = leader_order("swarm_model", ROUND, NAMES)[0]
    peers = {name: training.peer(name, *(("--die", moment) if name == leader else ()), world_size=4) for name in NAMES}
    assert peers.pop(leader).wait() == -signal.SIGKILL
    names = " ".join(peers)
    for peer in peers.values():
        # What it had decided stands, with its contribution: nobody aborts it, nobody merges it twice.
        peer.said(f"^ROUND {ROUND} merged {' '.join(NAMES)}$")
        peer.said(rf"^ROUND {ROUND + 1} merged {names}$")
        assert peer.text.count(f"ROUND {ROUND} merged") == 1
    training.finish()
    training.one_model(*peers.values())


@pytest.mark.parametrize("moment", ["ready", "accepted"])
def test_a_member_dies_before_it_answers_the_leader(training, moment: str) -> None:
    victim = leader_order("swarm_model", ROUND, NAMES)[-1]
    peers = {name: training.peer(name, *(("--die", moment) if name == victim else ()), world_size=4) for name in NAMES}
    assert peers.pop(victim).wait() == -signal.SIGKILL
    names = " ".join(peers)
    for peer in peers.values():
        peer.said(rf"^ROUND {ROUND} merged ")
        peer.said(rf"^ROUND {ROUND + 1} merged {names}$")
    training.finish()
    training.one_model(*peers.values())

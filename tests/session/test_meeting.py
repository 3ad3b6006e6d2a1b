"""Peers that meet in an unusual order."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from swarm import hookimpl
from swarm.consensus.paxos import leader_order
from swarm.errors import StartTimeoutError
from swarm.testing.nodes import eventually
from swarm.testing.swarm import MemorySwarm, together


class Starts:
    """Notes the rounds that a peer has joined."""

    def __init__(self) -> None:
        self.joined = threading.Event()

    @hookimpl
    def swarm_round_started(self, event: object) -> None:
        self.joined.set()


def test_members_of_a_group_that_meet_during_the_round() -> None:
    """The leader knows both and proposes; their streams to each other wait until they have met."""
    leader, *members = leader_order("swarm_model", 0, ("ada", "bob", "cyd"))
    swarm = MemorySwarm(world_size=3)
    swarm.network.cut("memory:2", "memory:3")
    starts = {name: Starts() for name in members}
    peers = {
        name: swarm.peer(name, {"w": np.full(5, float(number))}, plugins={"starts": starts.get(name, Starts())})
        for number, name in enumerate((leader, *members))
    }

    def begin(number: int, name: str) -> None:
        eventually(lambda: len(swarm.addresses) == number, "the one before has begun")
        peers[name].session.begin()

    def restore() -> None:
        for start in starts.values():
            assert start.joined.wait(10)
        swarm.network.restore("memory:2", "memory:3")

    together(restore, *(lambda n=number, p=name: begin(n, p) for number, name in enumerate((leader, *members))))
    assert [peer.arrays["w"].tolist() for peer in peers.values()] == [[0.0] * 5] * 3
    assert not [line for peer in peers.values() for line in peer.lines if "ignore" in line]
    for peer in peers.values():
        peer.session.abort("the test is over")


def test_an_address_that_does_not_answer_is_logged_once_and_named_in_the_error() -> None:
    swarm = MemorySwarm(world_size=2, start_timeout=5)
    swarm.addresses["swarm_model/bob"] = "memory:99"
    ada = swarm.peer("ada", {"w": np.zeros(1)})
    with pytest.raises(StartTimeoutError, match=r"; no answer from memory:99 \(nobody can be reached at memory:99\)$"):
        ada.session.begin()
    assert [line for line in ada.lines if line.startswith("WARNING no answer yet")] == [
        "WARNING no answer yet, trying again: nobody can be reached at memory:99"
    ]

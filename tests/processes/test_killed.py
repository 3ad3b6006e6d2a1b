"""Peers that are killed, told to end, interrupted, or started again, as real processes with real sockets."""

from __future__ import annotations

import signal

import pytest

from swarm.consensus.paxos import leader_order

NAMES = ("ada", "bob", "cyd", "dan")


@pytest.mark.parametrize("role", ["leader", "member"])
def test_the_others_go_on_when_one_is_killed(start, patient, role: str) -> None:
    peers = {name: start(name, 80, 0.02, world_size=4, **patient) for name in NAMES}
    for peer in peers.values():
        peer.said("^ROUND 3 merged")
    order = leader_order("swarm_model", 4, NAMES)
    victim = peers.pop(order[0] if role == "leader" else order[-1])
    victim.signal(signal.SIGKILL)
    for peer in peers.values():
        peer.said(f"WARNING .*{victim.name} is gone")
        peer.said(r"^ROUND \d+ merged( \w+){3}$")
        peer.said("went ahead with fewer peers; missing: " + victim.name)
    assert len({peer.digest for peer in peers.values()}) == 1
    assert [peer.wait() for peer in peers.values()] == [0, 0, 0]


def test_one_that_never_comes_is_waited_for_only_through_the_straggler_timeout(start) -> None:
    ada, bob = (start(name, 10, 0.0, world_size=3, straggler_timeout=0.5) for name in ("ada", "bob"))
    assert ada.digest == bob.digest
    assert ada.wait() == bob.wait() == 0
    assert "2 peers start from the same weights" in ada.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_that_is_told_to_end_leaves_politely(start, patient, number: signal.Signals) -> None:
    peers = {name: start(name, 60, 0.02, world_size=3, **patient) for name in NAMES[:3]}
    for peer in peers.values():
        peer.said("^ROUND 2 merged")
    leaving = peers.pop("bob")
    leaving.signal(number, group=True)
    for peer in peers.values():
        peer.said(r"INFO .*bob left \(")
    assert leaving.wait() != 0
    assert len({peer.digest for peer in peers.values()}) == 1


def test_one_that_is_told_to_end_while_it_waits_for_the_others(start, patient) -> None:
    settings = {"world_size": 2, "straggler_timeout": 0.5, **patient}
    bob, ada = start("bob", 4, 0.0, **settings), start("ada", 40, 0.05, **settings)
    bob.said("^ENDING")
    bob.signal(signal.SIGTERM)
    ada.said(r"bob left \(it was terminated\)")
    assert bob.wait() == -signal.SIGTERM
    assert ada.wait() == 0
    ada.said("^DIGEST")


def test_one_that_is_started_again_takes_up_its_name_and_catches_up(start) -> None:
    peers = {name: start(name, 300, 0.02, world_size=3) for name in NAMES[:3]}
    for peer in peers.values():
        peer.said("^ROUND 2 merged")
    killed = peers["bob"].signal(signal.SIGKILL)
    peers["ada"].said("bob is gone")
    peers["bob"] = start("bob", 60, 0.02, world_size=3)
    back = peers["bob"].said("^BEGUN")
    assert peers["ada"].said("bob is back at", after=killed) > killed
    peers["ada"].said("^ROUND .* merged ada bob cyd$", after=back)
    assert len({peer.digest for peer in peers.values()}) == 1


def test_a_whole_process_group_interrupted(start) -> None:
    ada, bob = (start(name, 400, 0.02, world_size=2, straggler_timeout=0.5) for name in ("ada", "bob"))
    for peer in (ada, bob):
        peer.said("^ROUND 2 merged")
    for peer in (ada, bob):
        peer.signal(signal.SIGINT, group=True)
    for peer in (ada, bob):
        assert peer.wait() != 0
        peer.said("^KeyboardInterrupt$")

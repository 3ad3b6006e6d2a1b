"""When a part of the swarm begins a lineage of its own, and which of two lineages stays when they meet."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from swarm.certification.encoding import decode_record, encode_record
from swarm.consensus.effects import Heal
from swarm.consensus.machine import RoundMachine
from swarm.consensus.rules import RoundRules
from swarm.messages import Accept, Accepted
from swarm.records import (
    MAX_ORIGINS,
    Attempt,
    Commit,
    ContributionStats,
    Origin,
    QuorumCertificate,
    Signature,
    SyncState,
)
from swarm.sync import FixedInterval

from .conftest import Peers

FOUNDED = Origin("line", 0, majority=True)


def commit(round_: int, *origins: Origin, members: tuple[str, ...] = ("ann", "bob")) -> Commit:
    """A record of the lineage of the last one of ``origins``."""
    return Commit(
        lineage=origins[-1].lineage, round=round_, digest="d", members=members, group=members, contributors=(),
        sync=SyncState(8), origins=origins, previous="unknown",
        certificate=QuorumCertificate(Attempt(0, "ann"), tuple(Signature(peer, "") for peer in members)),
    )  # fmt: skip


def heals(ours: Commit, theirs: Commit) -> bool:
    policy = FixedInterval(8)
    rules = RoundRules(session="s", min_peers=2, policy=policy, first_sync=policy.start())
    machine = RoundMachine("ann", "1", rules, 0.0)
    machine.resume(ours, 0.0)
    machine.peer_up("bob", theirs, 0.0)
    stats = ContributionStats(peer="ann", round=machine.round, weight=1)
    return any(isinstance(effect, Heal) for effect in machine.offer(stats, 0.0))


def test_the_lineage_that_kept_the_majority_stays_however_far_the_other_one_is() -> None:
    stayed, fork = commit(4, FOUNDED), commit(90, FOUNDED, Origin("fork", 3, majority=False))
    assert heals(fork, stayed)
    assert not heals(stayed, fork)


@pytest.mark.parametrize("name", ["a", "z"])
def test_a_majority_that_began_a_lineage_does_not_go_back_to_its_parent(name: str) -> None:
    parent, restarted = commit(4, FOUNDED), commit(4, FOUNDED, Origin(name, 4, majority=True))
    assert not heals(restarted, parent)
    assert heals(parent, restarted)


def test_of_two_lineages_of_minorities_the_one_with_more_members_stays() -> None:
    small = commit(90, FOUNDED, Origin("a", 3, majority=False))
    large = commit(4, FOUNDED, Origin("b", 3, majority=False), members=("ann", "bob", "cid"))
    assert heals(small, large)
    assert not heals(large, small)


def test_a_minority_never_goes_on_where_min_peers_forbids_it(founded) -> None:
    peers = founded("a", "b", "c", "d", min_peers=3)
    peers.part("ab", "cd")
    for _ in range(3):
        peers.offer(*"abcd")
        peers.wait(60)
    assert all(len(peers.commits(name)) == 1 for name in "abcd")


def test_half_forks_where_min_peers_allows_it_after_the_failure_timeout_and_says_so(founded) -> None:
    peers = founded("a", "b", "c", "d", min_peers=2, failure_timeout=10.0)
    old = peers.commits("a")[0].lineage
    peers.part("ab", "cd")
    peers.offer("a", "b")
    peers.wait(9)
    assert len(peers.commits("a")) == 1
    peers.wait(10)
    fork = peers.commits("a")[-1]
    assert fork.lineage != old
    assert (fork.round, fork.members) == (1, ("a", "b"))
    assert peers.commits("b")[-1] == fork
    assert all(peers.said(name).count("FORK: 2 of 4 members are left") == 1 for name in "ab")


def test_a_fork_waits_for_a_live_peer_as_long_as_any_round_does(founded) -> None:
    peers = founded(*"abcdef", min_peers=2, failure_timeout=10.0, straggler_timeout=4.0)
    peers.part("abc", "def")
    peers.offer("a", "b")
    peers.wait(13)
    assert len(peers.commits("a")) == 1
    peers.offer("c")
    peers.wait(5)
    assert {peers.commits(name)[-1].members for name in "abc"} == {("a", "b", "c")}


def test_an_aborted_fork_and_the_next_one_are_different_lineages(founded) -> None:
    """The first may still be decided at a peer that accepted it: with one id, two models would be its round 1."""
    peers = founded("a", "b", "c", "d", min_peers=2, failure_timeout=10.0)
    old = peers.commits("a")[0].lineage
    peers.part("ab", "cd")
    peers.drop = lambda sender, to, message: sender != to and isinstance(message, Accepted)
    for _ in range(2):
        peers.offer("a", "b")
        peers.wait(60)
    asked = [message.proposal for _, _, message in peers.sent if isinstance(message, Accept)]
    births = {proposal.attempt: proposal.lineage for proposal in asked if proposal.lineage != old}
    assert len(births) > len({attempt.leader for attempt in births}), "one of them led two"
    assert len(set(births.values())) == len(births)


def test_a_majority_keeps_its_lineage_though_min_peers_would_allow_a_fork(founded) -> None:
    peers = founded(*"abcde", min_peers=2)
    old = peers.commits("a")[0].lineage
    peers.part("abc", "de")
    peers.offer(*"abcde")
    peers.wait(30)
    assert peers.commits("a")[-1].lineage == old
    assert peers.commits("d")[-1].lineage != old


def test_when_two_lineages_meet_the_majority_stays(founded) -> None:
    peers = founded(*"abcde", min_peers=2)
    peers.part("abc", "de")
    peers.offer(*"abcde")
    peers.wait(30)
    for _ in range(3):
        peers.offer("d", "e")
        peers.wait(1)
    kept, given_up = peers.machines["a"].commit, peers.machines["d"].commit
    assert isinstance(kept, Commit)
    assert isinstance(given_up, Commit)
    assert kept.lineage != given_up.lineage
    assert (kept.round, given_up.round) == (1, 4)
    for one in "abc":
        for two in "de":
            peers.meet(one, two)
    peers.offer(*"de")
    peers.offer(*"abc")
    peers.wait(30)
    assert {peers.machines[name].commit.lineage for name in "abcde"} == {kept.lineage}
    assert not [heal for name in "abc" for heal in peers.all(name, Heal)]
    assert f"lineage {given_up.lineage} up to round 4 is given up for lineage {kept.lineage}" in peers.said("d")


def test_of_two_lineages_of_one_size_the_same_one_stays_for_both(swarm) -> None:
    peers = swarm("ab", min_peers=1, straggler_timeout=0.0)
    peers.part("a", "b")
    peers.offer("a", "b")
    peers.wait(1)
    lineages = {peers.machines[name].commit.lineage for name in "ab"}
    assert len(lineages) == 2
    peers.meet("a", "b")
    peers.offer("a", "b")
    peers.wait(1)
    assert {peers.machines[name].commit.lineage for name in "ab"} == {min(lineages)}


def test_a_peer_that_has_the_best_lineage_does_not_fetch_a_worse_one_it_saw_before(swarm) -> None:
    peers = swarm("abc", min_peers=1, straggler_timeout=0.0)
    for one, two in ("ab", "ac", "bc"):
        peers.part(one, two)
    peers.offer("a", "b", "c")
    peers.wait(1)
    best, middle, worst = sorted(peers.machines, key=lambda name: peers.machines[name].commit.lineage)
    machine = peers.machines[worst]
    machine.peer_up(best, peers.machines[best].commit, peers.now)
    machine.peer_up(middle, peers.machines[middle].commit, peers.now)
    peers.offer(worst)
    assert [heal.commit.lineage for heal in peers.all(worst, Heal)] == [peers.machines[best].commit.lineage]


def test_a_whole_swarm_is_resumed_without_end(swarm: Callable[..., Peers]) -> None:
    """Each time it goes on as another lineage, whose record names those that it comes from: up to a limit."""
    peers = swarm("abc", expected=3, codecs=frozenset({"exact"}), failure_timeout=2.0, straggler_timeout=1.0)
    peers.found()
    for number in range(MAX_ORIGINS + 4):
        commit = peers.machines["a"].commit
        peers.crash("a", "b", "c")
        for name in "abc":
            peers.add(name, f"again-{number}", alone=True)
            peers.machines[name].resume(commit, peers.now)
        for one, other in ("ab", "ac", "bc"):
            peers.meet(one, other)
        peers.offer("a", "b", "c")
        peers.wait(10)
        now = peers.machines["a"].commit
        assert now.lineage != commit.lineage
        assert decode_record(encode_record(now)) == now
        assert all(peers.machines[name].commit == now for name in "bc")

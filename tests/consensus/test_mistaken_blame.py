"""Honest peers that could be taken for liars: they are not struck, and strikes that they have stop nobody."""

from __future__ import annotations

from swarm.consensus.effects import Send, Skip
from swarm.consensus.paxos import leader_order
from swarm.consensus.strikes import BARRED, FIRST
from swarm.messages import Abort, Failed, Propose
from swarm.records import Attempt

from .players import OneMember


def bar(peers, liar: str, account: str) -> None:
    """One peer hears that a member rejects proposals, until it waits for that one no more."""
    while peers.said(account).count(f"{liar} gives up an attempt") < BARRED:
        assert peers.now < 60
        peers.exchanging = False
        for name, machine in peers.machines.items():
            if not machine.offered:
                peers.offer(name)
        for proposal in peers.running():
            leader = proposal.attempt.leader
            peers.tell(liar, account, Failed(*proposal.key, leader, "a lie", rejects=True))
        peers.exchanging = True
        for proposal in peers.running():
            peers.exchange(proposal)
        peers.deliver()
        peers.wait(FIRST + 0.1)
    assert peers.machines[account].left_out == {liar}


def test_of_two_in_dispute_one_at_most_is_left_out_whatever_other_leaders_do(founded) -> None:
    """Leaders whose accounts differ have both in their groups while this peer leaves one of them out."""
    member = OneMember(founded, "abcd", straggler_timeout=1.0, failure_timeout=60.0)
    for counter in range(1, 2 * BARRED + 1):
        proposal = member.proposed(counter, "c")
        member.joins(proposal)
        member.hears("d", Failed(*proposal.key, "b", "it is at fault"))
        assert member.machine.left_out == ({"b"} if counter % 2 else {"d"})
    member.hears("c", Abort(*proposal.key, "it is at fault"))
    member.now += 1.5
    assert not [effect for effect in member.machine.tick(member.now) if isinstance(effect, Skip)], "three of four are"


def test_who_skips_its_sync_point_at_once_proposes_nothing_before(founded) -> None:
    """The others would join an attempt that it cannot finish, and the strikes for that would be its own."""
    peers = founded("a", "b", straggler_timeout=1.0, failure_timeout=60.0)
    leader = peers.leader()
    other = "b" if leader == "a" else "a"
    bar(peers, other, leader)
    peers.offer(leader)
    peers.wait(2.5)
    skips = peers.all(leader, Skip)
    assert skips
    assert "below quorum" in skips[-1].reason
    if not peers.machines[other].offered:
        peers.offer(other)
    before = len(peers.effects[leader])
    peers.offer(leader)
    assert len(peers.all(leader, Skip)) == len(skips) + 1
    sent = [effect.message for effect in peers.effects[leader][before:] if isinstance(effect, Send)]
    assert not [message for message in sent if isinstance(message, Propose)]


def takes_over(peers, leader: str) -> None:
    """It asks all for promises to the next attempt."""
    commit = peers.machines[leader].commit
    asked = peers.prepare(Attempt(1, leader), commit.lineage, commit.round + 1)
    for name in peers.machines:
        if name != leader:
            peers.tell(leader, name, asked)


def test_who_asks_all_has_not_asked_in_secret_where_one_bars_it(founded) -> None:
    peers = founded(*"abcd", straggler_timeout=1.0, failure_timeout=60.0)
    me, other = "a", "b"
    bar(peers, other, me)
    while peers.leader() != me:
        peers.offer(*"abcd")
    round_ = peers.machines[me].round
    takes_over(peers, other)
    peers.offer(*"abcd")
    assert peers.machines[me].round == round_ + 1
    assert "follows a higher attempt" in peers.said(me)
    assert "has asked" not in peers.said(me)


def test_who_asks_all_has_not_asked_in_secret_where_one_was_behind(founded) -> None:
    peers = founded(*"abcd", straggler_timeout=1.0, failure_timeout=60.0)
    me = leader_order("s", 2, "abcd")[0]
    other, *rest = sorted({*"abcd"} - {me})
    peers.offer(other, *rest)
    peers.wait(1.1)
    takes_over(peers, other)
    peers.offer(other, *rest)
    peers.offer(me)
    assert "follows a higher attempt" in peers.said(me)
    assert peers.machines[me].round == 3
    assert "has asked" not in peers.said(me)

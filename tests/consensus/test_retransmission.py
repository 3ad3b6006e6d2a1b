"""What is retransmitted, to whom, and how often."""

from __future__ import annotations

from itertools import pairwise

from swarm.consensus.machine import LONGEST_RETRY, RETRY
from swarm.consensus.timing import Retransmission, Timer
from swarm.messages import Offer


def offers_of(peers, name: str, to: str) -> int:
    return sum((sender, at) == (name, to) and isinstance(said, Offer) for sender, at, said in peers.sent)


def test_an_offer_is_retransmitted_less_and_less_often_while_a_straggler_is_waited_for(founded) -> None:
    peers = founded("a", "b", "c", min_peers=3, wait_below_quorum=True)
    peers.offer("a", "b")
    before = offers_of(peers, "a", "b")
    peers.wait(RETRY)
    assert offers_of(peers, "a", "b") == before + 1
    peers.wait(10 * LONGEST_RETRY)
    assert before + 10 <= offers_of(peers, "a", "b") <= before + 14


def test_a_peer_that_joined_an_attempt_retransmits_its_offer_to_the_leader_only(founded) -> None:
    peers = founded("a", "b", "c")
    peers.exchanging = False
    peers.offer("a", "b", "c")
    leader = peers.running()[0].attempt.leader
    member, other = sorted({*"abc"} - {leader})
    before = offers_of(peers, member, leader), offers_of(peers, member, other)
    peers.wait(4 * RETRY)
    assert offers_of(peers, member, leader) > before[0]
    assert offers_of(peers, member, other) == before[1]


def test_an_offer_is_retransmitted_soon_to_a_peer_that_greets_again(founded) -> None:
    peers = founded("a", "b", "c", min_peers=3, wait_below_quorum=True)
    peers.offer("a", "b")
    peers.wait(4 * LONGEST_RETRY)
    before = offers_of(peers, "a", "b")
    peers.meet("a", "b")
    peers.wait(RETRY)
    assert offers_of(peers, "a", "b") == before + 1


def test_an_offer_is_retransmitted_soon_after_the_leader_has_changed(founded) -> None:
    """It is due 1, 3, 7, 15, 23 and 31 s after the sync point."""
    peers = founded("a", "b", "c", "d", min_peers=4, wait_below_quorum=True)
    leader = peers.leader()
    one, other = sorted({*"abcd"} - {leader})[:2]
    peers.offer(one)
    peers.wait(24)
    peers.crash(leader)
    before = offers_of(peers, one, other)
    peers.wait(RETRY)
    assert offers_of(peers, one, other) == before + 1


def test_an_offer_is_sent_again_at_once_where_it_names_other_members_as_gone(founded) -> None:
    peers = founded("a", "b", "c", "d", min_peers=4, wait_below_quorum=True)
    peers.offer("a")
    before = offers_of(peers, "a", "b")
    peers.part("d", "abc")
    assert offers_of(peers, "a", "b") == before + 1
    last = [said for sender, to, said in peers.sent if (sender, to) == ("a", "b") and isinstance(said, Offer)][-1]
    assert last.gone == ("d",)
    peers.meet("a", "d")
    last = [said for sender, to, said in peers.sent if (sender, to) == ("a", "b") and isinstance(said, Offer)][-1]
    assert last.gone == ()


def test_a_peer_that_does_not_vote_offers_to_the_next_leader_too(founded) -> None:
    """It is not asked for a promise, so it stays in the attempt; the next leader may lack its offer."""
    peers = founded("a", "b", "c", straggler_timeout=5.0, failure_timeout=2.0)
    leader = peers.leader()
    peers.drop = lambda sender, to, message: sender == "n" and to != leader and isinstance(message, Offer)
    peers.add("n")
    peers.exchanging = False
    peers.offer("a", "b", "c", "n")
    assert "n" in peers.running()[-1].group
    peers.exchanging = True
    peers.crash(leader)
    peers.drop = lambda sender, to, message: False
    before = len(peers.sent)
    peers.wait(4.0)
    told = {to for sender, to, message in peers.sent[before:] if sender == "n" and isinstance(message, Offer)}
    assert told == {*peers.machines} - {"n"}, "each of them may be the next leader"
    commits = [machine.commit for machine in peers.machines.values()]
    assert [commit and (commit.round, commit.group) for commit in commits] == [(1, tuple(sorted(peers.machines)))] * 3


def test_a_retransmission_for_new_peers_is_soon_however_often_one_comes() -> None:
    timer = Timer(0.0)
    retry = Retransmission(timer, 1.0, 8.0)
    sent = []
    for moment in (0.4 * step for step in range(100)):
        timer.advance(moment)
        if retry.due(needed=True):
            sent.append(moment)
        if moment > 20.0:
            retry.hurry()
    late = [moment for moment in sent if moment > 21.0]
    assert len(late) >= 15
    assert max(after - before for before, after in pairwise(late)) < 1.3

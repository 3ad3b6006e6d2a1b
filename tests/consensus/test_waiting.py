"""When a sync point ends without a merge, and for whom a round waits."""

from __future__ import annotations

import pytest

from swarm.consensus.effects import End, Skip, StartExchange
from swarm.messages import Offer, Prepare, Promise, Withdraw
from swarm.records import PeerStatus


def test_below_quorum_training_goes_on_after_the_straggler_timeout_and_the_missing_are_named(founded) -> None:
    peers = founded("a", "b", "c", min_peers=3, straggler_timeout=1.0)
    peers.crash("c")
    peers.offer("a", "b")
    peers.wait(0.9)
    assert not peers.all("a", Skip)
    peers.wait(0.2)
    (skip,) = peers.all("a", Skip)
    assert skip.round == 1
    assert "2 of the 3 peers needed are here" in skip.reason
    assert "c (gone)" in skip.reason


def test_below_quorum_a_peer_set_to_wait_waits_and_names_the_missing(founded) -> None:
    peers = founded("a", "b", "c", min_peers=3, wait_below_quorum=True)
    peers.crash("c")
    peers.offer("a", "b")
    peers.wait(300)
    assert not peers.all("a", Skip)
    assert peers.said("a").count("waiting for c (gone)") >= 9
    peers.add("c", incarnation="2")
    peers.offer("c")
    peers.wait(1)
    assert peers.commits("a")[-1].group == ("a", "b", "c")


def test_below_quorum_one_sync_point_waits_for_each_loss_and_the_next_with_a_quorum_merges(founded) -> None:
    peers = founded("a", "b", "c", min_peers=3, straggler_timeout=1.0)
    peers.part("c", "ab")
    peers.offer("a", "b")
    peers.wait(0.9)
    assert [len(peers.all(name, Skip)) for name in "ab"] == [0, 0]
    peers.wait(0.2)
    for skips in (1, 2):
        assert [len(peers.all(name, Skip)) for name in "ab"] == [skips, skips]
        peers.offer("a", "b")
    peers.meet("a", "c")
    peers.meet("b", "c")
    peers.offer("a", "b", "c")
    assert peers.commits("a")[-1].round == 1
    peers.part("c", "ab")
    peers.offer("a", "b")
    assert [len(peers.all(name, Skip)) for name in "ab"] == [3, 3]
    peers.wait(1.1)
    assert [len(peers.all(name, Skip)) for name in "ab"] == [4, 4]


def test_a_live_peer_without_which_there_is_no_quorum_is_waited_for_for_the_failure_timeout(founded) -> None:
    peers = founded("a", "b", min_peers=2, failure_timeout=10)
    peers.offer("a")
    peers.wait(9.9)
    assert not peers.all("a", Skip)
    peers.wait(0.2)
    assert "b did not reach a sync point within 10 s" in peers.all("a", Skip)[0].reason


def test_where_training_between_sync_points_takes_long_a_live_peer_is_waited_for_longer(founded) -> None:
    peers = founded("a", "b", min_peers=2, failure_timeout=10)
    peers.wait(30)
    peers.offer("a")
    peers.wait(299)
    assert not peers.all("a", Skip)
    peers.wait(2)
    assert "b did not reach a sync point within 300 s" in peers.all("a", Skip)[0].reason


def test_a_live_peer_that_did_not_come_is_waited_for_again_after_its_next_sync_point(founded) -> None:
    peers = founded("a", "b", min_peers=2, failure_timeout=10)
    peers.offer("a")
    peers.wait(11)
    for skips in (2, 3):
        peers.offer("a")
        assert len(peers.all("a", Skip)) == skips
    assert "since the last wait for them timed out" in peers.all("a", Skip)[-1].reason
    peers.offer("b")
    peers.offer("a")
    assert peers.commits("a")[-1].group == ("a", "b")
    peers.offer("a")
    peers.wait(9.9)
    assert len(peers.all("a", Skip)) == 3


def test_a_round_with_a_quorum_waits_once_for_a_live_peer_that_does_not_come(founded) -> None:
    peers = founded("a", "b", "c", min_peers=2, straggler_timeout=5)
    peers.offer("a", "b")
    peers.wait(4.9)
    assert len(peers.commits("a")) == 1
    peers.wait(0.2)
    assert [commit.group for commit in peers.commits("a")[1:]] == [("a", "b")]
    for rounds in (2, 3, 4):
        peers.offer("a", "b")
        assert peers.commits("b")[-1].round == rounds
    peers.offer("c")
    peers.offer("a", "b")
    assert peers.commits("a")[-1].group == ("a", "b", "c")
    peers.offer("a", "b")
    assert peers.commits("a")[-1].round == 5
    peers.wait(5.1)
    assert peers.commits("a")[-1].round == 6


def test_an_offer_to_a_round_far_ahead_makes_no_round_wait(founded) -> None:
    peers = founded("a", "b", "c", min_peers=2, straggler_timeout=5)
    for rounds in (1, 2, 3):
        ahead = peers.offer_of("c", peers.commits("a")[-1], round=100)
        for name in "ab":
            peers.tell("c", name, ahead)
        peers.offer("a", "b")
        if rounds == 1:  # nobody has found out yet that c does not come
            peers.wait(5.1)
        assert peers.commits("b")[-1].round == rounds


def test_the_closing_round_waits_for_a_live_peer_that_rounds_no_longer_wait_for(founded) -> None:
    peers = founded("a", "b", "c", min_peers=2, straggler_timeout=5)
    peers.offer("a", "b")
    peers.wait(6)
    peers.offer("a", "b", status=PeerStatus.SNAPSHOT)
    peers.wait(100)
    assert not any(commit.closing for commit in peers.commits("a"))
    peers.offer("c", status=PeerStatus.SNAPSHOT)
    peers.wait(1)
    assert peers.commits("a")[-1].closing


def test_with_every_peer_required_and_set_to_wait_no_round_goes_without_one(founded) -> None:
    """The settings of a repeatable run."""
    peers = founded("a", "b", "c", min_peers=3, wait_below_quorum=True, straggler_timeout=0.1)
    peers.offer("a", "b")
    peers.wait(500)
    assert len(peers.commits("a")) == 1
    assert "waiting for c" in peers.said("a")
    peers.offer("c")
    assert peers.commits("a")[-1].group == ("a", "b", "c")


def test_a_finished_peer_that_is_left_alone_ends(founded) -> None:
    peers = founded("a", "b", min_peers=2)
    peers.offer("a", status=PeerStatus.SNAPSHOT)
    peers.crash("b")
    peers.wait(2)
    assert "below quorum" in peers.all("a", End)[0].reason


def test_a_finished_newcomer_ends_when_all_members_have_left(founded) -> None:
    peers = founded("a", "b", "c", min_peers=1)
    peers.add("n")
    peers.offer("n", status=PeerStatus.INACTIVE)
    assert peers.machines["n"].commit is not None
    peers.crash("a", "b", "c")
    peers.wait(3)
    assert peers.all("n", End)


def test_a_peer_that_fails_three_attempts_by_itself_skips_its_sync_point(founded) -> None:
    peers = founded("a", "b")
    peers.exchanging = False
    peers.offer("a", "b")
    failed: set[object] = set()
    for _ in range(60):
        proposal = peers.all("b", StartExchange)[-1].proposal
        if proposal.key not in failed and proposal.round == 1:
            assert not peers.all("b", Skip)
            failed.add(proposal.key)
            reason = f"bug {len(failed)}"
            peers.do("b", peers.machines["b"].exchange_failed(proposal.key, "b", reason, peers.now))
            peers.deliver()
        peers.wait(0.5)
    assert len(failed) == 3
    (skip,) = peers.all("b", Skip)
    assert skip.reason == "this peer failed 3 attempts by itself, the last one because bug 3"
    peers.exchanging = True
    peers.offer("b")
    peers.offer("a")
    peers.wait(2.5)
    assert peers.commits("b")[-1].round == 1


def test_below_quorum_a_live_peer_is_not_called_missing(founded) -> None:
    peers = founded("a", "b", "c", "d", min_peers=3)
    peers.crash("c", "d")
    peers.offer("a")
    peers.wait(30)
    skip = peers.all("a", Skip)[0]
    assert skip.reason.endswith("2 of the 3 peers needed are here; missing: c (gone), d (gone)")


def test_a_sync_point_below_quorum_does_not_count_as_one_at_which_live_peers_were_waited_for(founded) -> None:
    peers = founded("a", "b", "c", "d", min_peers=3, straggler_timeout=1.0)
    peers.wait(20)
    peers.part("ab", "cd")
    peers.offer("a")
    peers.wait(2)
    assert "below quorum" in peers.all("a", Skip)[-1].reason
    for one, two in ("ac", "ad", "bc", "bd"):
        peers.meet(one, two)
    peers.offer("a")
    peers.wait(100)
    assert len(peers.all("a", Skip)) == 1


def test_a_wait_with_a_quorum_of_offers_ends_when_every_time_out_of_a_round_has_passed(founded) -> None:
    """Longest of 30 s and the patience, the straggler timeout, and three times the failure timeout."""
    peers = founded("a", "b", "c", straggler_timeout=1.0, failure_timeout=10.0)
    member = next(name for name in "abc" if name != peers.leader())
    peers.drop = lambda sender, to, message: not isinstance(message, Offer | Prepare | Promise)
    peers.exchanging = False
    peers.offer("a", "b", "c")
    peers.wait(60.9)
    assert not peers.all(member, Skip)
    assert [line for line in peers.said(member).splitlines() if "waiting" in line] == [
        "round 1: waiting for the leader"
    ] * 2
    peers.wait(0.2)
    assert [skip.reason for skip in peers.all(member, Skip)] == ["no result within 61 s"]


def test_a_skipped_sync_point_withdraws_the_offer_and_the_others_go_on_without_it(founded) -> None:
    peers = founded("a", "b", "c", min_peers=3, straggler_timeout=1.0)
    peers.offer("a", "b")
    peers.wait(10.1)
    assert peers.all("a", Skip)
    withdrawn = {(sender, to) for sender, to, message in peers.sent if isinstance(message, Withdraw)}
    assert {("a", "b"), ("a", "c")} <= withdrawn
    assert not peers.machines["a"].offered


def test_a_peer_that_has_withdrawn_its_offer_is_waited_for_like_any_other(founded) -> None:
    peers = founded("a", "b", "c", straggler_timeout=5.0)
    lineage = peers.commits("a")[0].lineage
    others = sorted({*"abc"} - {peers.leader()})
    leader, (one, other) = peers.leader(), others
    peers.offer(one)
    peers.tell(other, leader, Withdraw(lineage, 1))
    peers.tell(one, leader, Withdraw(lineage, 1))
    peers.drop = lambda sender, to, message: sender == one and isinstance(message, Offer)
    peers.offer(leader, other)
    assert not peers.running()
    assert len(peers.commits(leader)) == 1, "it waits for the one that went on"
    peers.wait(5.1)
    assert peers.commits(leader)[-1].group == tuple(sorted((leader, other)))


def test_an_offer_that_a_stale_withdrawal_names_stays(founded) -> None:
    peers = founded("a", "b", "c", straggler_timeout=5.0)
    lineage = peers.commits("a")[0].lineage
    leader = peers.leader()
    one, other = sorted({*"abc"} - {leader})
    peers.offer(one)
    for stale in (Withdraw(lineage, 0), Withdraw(lineage, 2), Withdraw("other", 1)):
        peers.tell(one, leader, stale)
    peers.offer(leader, other)
    assert peers.commits(leader)[-1].group == ("a", "b", "c")


def test_a_peer_that_finishes_below_quorum_waits_once_more_before_it_ends(founded) -> None:
    peers = founded("a", "b", min_peers=2, straggler_timeout=1.0)
    peers.crash("b")
    peers.offer("a")
    peers.wait(1.1)
    assert len(peers.all("a", Skip)) == 1
    peers.wait(20)
    peers.offer("a", status=PeerStatus.SNAPSHOT)
    peers.wait(0.9)
    assert not peers.all("a", End)
    peers.wait(0.2)
    assert peers.all("a", End)


def test_a_loss_that_is_made_good_in_time_begins_the_wait_below_quorum_anew(founded) -> None:
    peers = founded("a", "b", min_peers=2, straggler_timeout=2.0)
    peers.part("a", "b")
    peers.offer("a")
    peers.wait(1.5)
    peers.meet("a", "b")
    peers.wait(1.0)
    peers.part("a", "b")
    peers.wait(1.9)
    assert not peers.all("a", Skip)
    peers.wait(0.2)
    assert "below quorum" in peers.all("a", Skip)[0].reason


def test_below_quorum_the_wait_is_the_shorter_of_straggler_and_failure_timeout(founded) -> None:
    peers = founded("a", "b", min_peers=2, straggler_timeout=30.0, failure_timeout=4.0)
    peers.crash("b")
    peers.offer("a")
    peers.wait(3.9)
    assert not peers.all("a", Skip)
    peers.wait(0.2)
    (skip,) = peers.all("a", Skip)
    assert skip.reason == "below quorum: 1 of the 2 peers needed are here; missing: b (gone)"


def test_a_finished_peer_waits_for_live_peers_without_a_time_out(founded) -> None:
    peers = founded("a", "b", min_peers=2, failure_timeout=10.0)
    peers.offer("a", status=PeerStatus.SNAPSHOT)
    peers.wait(500)
    assert not peers.all("a", End)
    assert peers.said("a").splitlines() == ["round 1: waiting for b"] * 16


def test_the_time_of_a_skipped_sync_point_is_no_training(founded) -> None:
    """Patience is ten times the median of the training between sync points: of 6 s, then of 6 s and 10 s."""
    peers = founded("a", "b", min_peers=2, failure_timeout=10.0)
    peers.drop = lambda sender, to, message: sender == "b" and isinstance(message, Offer)
    peers.wait(6)
    peers.offer("a")
    peers.wait(70)
    assert [skip.reason for skip in peers.all("a", Skip)] == ["b did not reach a sync point within 60 s"]
    commit = peers.commits("a")[0]
    peers.tell("b", "a", peers.offer_of("b", commit))
    peers.tell("b", "a", Withdraw(commit.lineage, 1))
    peers.offer("a")
    peers.wait(79.9)
    assert len(peers.all("a", Skip)) == 1
    peers.wait(0.2)
    assert peers.all("a", Skip)[-1].reason == "b did not reach a sync point within 80 s"


def test_faults_of_an_earlier_sync_point_do_not_count(founded) -> None:
    peers = founded("a", "b")
    peers.exchanging = False
    for _ in range(2):
        peers.offer("a", "b")
        for _ in range(2):
            peers.wait(2.5)
            proposal = peers.all("b", StartExchange)[-1].proposal
            peers.do("b", peers.machines["b"].exchange_failed(proposal.key, "b", "bug", peers.now))
            peers.deliver()
    assert not peers.all("b", Skip)


def test_below_quorum_the_number_needed_is_a_majority_if_that_is_more_than_min_peers(founded) -> None:
    peers = founded(*"abcdefg", min_peers=3, straggler_timeout=1.0)
    peers.crash(*"cdefg")
    peers.offer("a", "b")
    peers.wait(1.1)
    assert peers.all("a", Skip)[0].reason.startswith(
        "below quorum: 2 of the 4 peers needed are here; missing: c (gone)"
    )


@pytest.mark.parametrize(("rounds", "seconds"), [(4, 10.0), (5, 0.5)])
def test_the_straggler_timeout_is_learned_from_five_rounds_after_the_founding_one(
    swarm, rounds: int, seconds: float
) -> None:
    """Until then it is the patience, of 10 s here; then at least half a second."""
    peers = swarm("abc", straggler_timeout=None, failure_timeout=10.0, expected=3)
    peers.offer("a", "b")
    peers.wait(0.2)
    peers.offer("c")
    for _ in range(rounds):
        peers.offer("a", "b", "c")
    peers.offer("a", "b")
    peers.wait(seconds - 0.1)
    assert peers.commits("a")[-1].round == rounds
    peers.wait(0.2)
    assert (peers.commits("a")[-1].round, peers.commits("a")[-1].group) == (rounds + 1, ("a", "b"))


def test_a_running_attempt_is_not_skipped_however_long_its_exchange_takes(founded) -> None:
    peers = founded("a", "b")
    peers.exchanging = False
    peers.offer("a", "b")
    peers.wait(300)
    (proposal,) = peers.running()
    assert not peers.all("a", Skip) + peers.all("b", Skip)
    peers.exchange(proposal)
    peers.deliver()
    assert peers.commits("a")[-1].round == 1


def test_newcomers_do_not_make_half_of_the_membership_a_quorum(founded) -> None:
    peers = founded(*"abcd", min_peers=3, straggler_timeout=1.0)
    peers.add("n")
    peers.crash("c", "d")
    peers.offer("a", "b")
    peers.wait(1.1)
    assert peers.all("a", Skip)[0].reason.startswith("below quorum: 3 of the 3 peers needed are here")


def test_the_peer_that_came_last_is_who_the_others_have_waited_for(founded) -> None:
    peers = founded("a", "b", "c")
    peers.offer("b")
    peers.wait(1)
    peers.offer("a")
    peers.wait(1)
    peers.offer("c")
    assert peers.waited == {"a": ("c",), "b": ("c",), "c": ()}


def test_a_peer_without_which_the_round_begins_is_who_the_others_have_waited_for(founded) -> None:
    peers = founded("a", "b", "c", straggler_timeout=1.0)
    peers.offer("a", "b")
    peers.wait(1.1)
    assert [peers.waited[name] for name in "ab"] == [("c",), ("c",)]


def test_a_skipped_sync_point_has_waited_for_those_that_are_not_here(founded) -> None:
    peers = founded("a", "b", "c", min_peers=3, straggler_timeout=1.0)
    peers.crash("c")
    peers.offer("a", "b")
    peers.wait(1.2)
    assert [peers.all(name, Skip)[0].waited_for for name in "ab"] == [("c",), ("c",)]

"""How a session ends."""

from __future__ import annotations

import pytest

from swarm.consensus.effects import End, Heal
from swarm.consensus.timing import LEAST_TRAINING, LONGEST_SILENCE
from swarm.messages import Accept, Accepted, Decide, Message, Offer, Prepare, Propose
from swarm.records import Attempt, PeerStatus

FINISHED = [PeerStatus.INACTIVE, PeerStatus.SNAPSHOT, PeerStatus.ACTIVE]


@pytest.mark.parametrize("status", FINISHED)
def test_when_all_have_finished_one_closing_round_runs(founded, status: PeerStatus) -> None:
    peers = founded("a", "b", "c")
    peers.offer("a", "b", "c")
    peers.offer("a", "b", "c", status=status)
    commits = [peers.commits(name)[-1] for name in "abc"]
    assert commits == [commits[0]] * 3
    assert (commits[0].round, commits[0].closing, commits[0].group) == (2, True, ("a", "b", "c"))
    assert all(peers.machines[name].closed for name in "abc")


def test_the_end_waits_for_a_live_peer_that_reaches_no_sync_point_for_a_limited_time(founded) -> None:
    peers = founded("a", "b", "c", straggler_timeout=1.0)
    peers.offer("a", "b", status=PeerStatus.SNAPSHOT)
    peers.wait(LONGEST_SILENCE - 20.0)
    assert not peers.machines["a"].closed, "c may be slow"
    peers.wait(30.0)
    closing = peers.commits("a")[-1]
    assert (closing.closing, closing.group, closing.members) == (True, ("a", "b"), ("a", "b"))
    assert "c has reached no sync point for 600 s and all others have trained: it counts as gone" in peers.said("a")


def trains_on(peers, seconds: float, status: PeerStatus = PeerStatus.TRAINING) -> None:
    """Member c offers once in a minute, as one that trains, and the others have finished."""
    for _ in range(int(seconds / 60)):
        for name in "ab":
            if not peers.machines[name].offered and not peers.machines[name].closed:
                peers.offer(name, status=PeerStatus.SNAPSHOT)
        peers.wait(60.0)
        peers.offer("c", status=status)


@pytest.mark.parametrize("status", [PeerStatus.TRAINING, PeerStatus.EXTENDED])
def test_the_end_waits_for_a_member_that_trains_on_for_a_limited_time(founded, status: PeerStatus) -> None:
    peers = founded("a", "b", "c", straggler_timeout=1.0)
    trains_on(peers, LEAST_TRAINING - 60.0, status)
    assert peers.machines["a"].round > 50, "c is slow: its rounds count"
    assert not peers.machines["a"].closed
    trains_on(peers, 180.0, status)
    closing = peers.commits("a")[-1]
    assert (closing.closing, closing.group, closing.members) == (True, ("a", "b"), ("a", "b"))
    assert peers.commits("b")[-1] == closing
    assert "c still trains 3600 s after most others have trained: it is waited for no longer" in peers.said("a")


def test_the_time_for_those_who_train_on_is_a_multiple_of_that_of_the_others(founded) -> None:
    peers = founded("a", "b", "c", straggler_timeout=1.0)
    for _ in range(4):  # 5 rounds of 40 s each with the founding one: 30 times as long is 6,000 s
        peers.wait(40.0)
        peers.offer("a", "b", "c")
    trains_on(peers, 5900.0)
    assert not peers.machines["a"].closed
    trains_on(peers, 240.0)
    assert peers.machines["a"].closed


def test_one_peer_alone_does_not_end_the_wait_for_another_one(founded) -> None:
    """It has trained for less time than the others, and so does not wait for as long as they do."""
    peers = founded("a", "b", "c", straggler_timeout=1.0)
    for _ in range(4):
        peers.wait(40.0)
        peers.offer("b", "c")
        peers.crash("a")
        peers.add("a", "2")
        peers.offer("a")
        peers.wait(0.0)
    trains_on(peers, 5900.0)
    assert "c still trains" in peers.said("a")
    assert "c still trains" not in peers.said("b")
    assert peers.commits("a")[-1].group == ("a", "b", "c")
    trains_on(peers, 1500.0)
    assert peers.machines["b"].closed


def test_a_minority_that_has_trained_waits_for_the_majority(founded) -> None:
    peers = founded("a", "b", "c", straggler_timeout=1.0)
    for _ in range(int(LEAST_TRAINING / 60) + 5):
        peers.offer("a", status=PeerStatus.SNAPSHOT)
        peers.wait(60.0)
        peers.offer("b", "c")
    assert not peers.machines["a"].closed
    assert peers.commits("a")[-1].group == ("a", "b", "c")


def test_with_required_members_those_who_train_on_are_waited_for(founded) -> None:
    peers = founded("a", "b", "c", straggler_timeout=1.0, require_all=True)
    trains_on(peers, 2 * LEAST_TRAINING)
    assert not peers.machines["a"].closed
    peers.offer("a", "b", "c", status=PeerStatus.SNAPSHOT)
    assert peers.commits("a")[-1].members == ("a", "b", "c")


def test_who_ends_in_time_is_in_the_closing_round(founded) -> None:
    peers = founded("a", "b", "c", straggler_timeout=1.0)
    trains_on(peers, LEAST_TRAINING - 120.0)
    peers.offer("a", "b", "c", status=PeerStatus.SNAPSHOT)
    assert peers.commits("a")[-1].members == ("a", "b", "c")
    assert peers.machines["a"].closed


def test_those_who_train_for_the_others_stop_without_one_that_trains_on(founded) -> None:
    peers = founded("a", "b", "c", straggler_timeout=1.0)
    for _ in range(int(LEAST_TRAINING / 60) + 5):
        peers.offer("a", "b", status=PeerStatus.EXTENDED, steps=1)
        peers.wait(60.0)
        peers.offer("c")
    assert any(commit.done for commit in peers.commits("a"))


def test_offers_of_earlier_rounds_do_not_hold_the_end_up(founded) -> None:
    peers = founded("a", "b", "c", straggler_timeout=1.0)
    old = peers.offer_of("c", peers.machines["c"].commit)
    peers.offer("a", "b", "c")
    peers.offer("a", "b", status=PeerStatus.SNAPSHOT)
    for _ in range(int(LONGEST_SILENCE / 5) + 4):
        peers.wait(5.0)
        for name in "ab":
            peers.tell("c", name, old)
    assert peers.machines["a"].closed


def test_it_closes_without_a_member_that_promises_and_never_accepts(founded) -> None:
    peers = founded("a", "b", min_peers=1, failure_timeout=1.0)
    leading = Prepare | Propose | Accept | Decide
    peers.drop = lambda sender, _, message: sender == "b" and isinstance(message, Accepted | leading)
    peers.offer("b", status=PeerStatus.INACTIVE)
    peers.offer("a", status=PeerStatus.SNAPSHOT)
    peers.wait(LONGEST_SILENCE - 10.0)
    assert "FORK" not in peers.said("a"), "strikes alone may be those of a network"
    peers.wait(60.0)
    assert "FORK: 1 of 2 members are left" in peers.said("a")
    peers.offer("a", status=PeerStatus.SNAPSHOT)  # to the round after the fork
    peers.wait(2 * LONGEST_SILENCE)
    assert peers.machines["a"].closed


def test_a_member_that_promises_nothing_does_not_hold_the_other_one_for_ever(founded) -> None:
    """Two members with which ``min_peers`` allows no fork: the session ends without a closing round."""
    peers = founded("a", "b", failure_timeout=1.0)
    peers.drop = lambda sender, _, message: sender == "b" and not isinstance(message, Offer)
    peers.offer("b", status=PeerStatus.INACTIVE)
    peers.offer("a", status=PeerStatus.SNAPSHOT)
    peers.wait(60.0)
    assert "round 1: b did not promise in time" in peers.said("a")
    assert "below quorum" in peers.all("a", End)[0].reason


def test_a_member_that_counts_as_gone_does_not_end_the_attempts_of_the_rest(founded) -> None:
    """It answers each attempt with a request for promises to a higher one."""
    peers = founded("a", "b", min_peers=1, failure_timeout=1.0)
    prepared = []

    def passes(sender: str, to: str, message: Message) -> bool:
        if sender == "a" and isinstance(message, Prepare):
            prepared.append(message)
            assert len(prepared) < 500
            peers.tell("b", "a", peers.prepare(Attempt(message.attempt.counter + 1, "b"), message.lineage))
        return sender == "b" and isinstance(message, Offer)

    peers.drop = lambda sender, to, message: not passes(sender, to, message)
    peers.offer("b", status=PeerStatus.INACTIVE)
    peers.offer("a", status=PeerStatus.SNAPSHOT)
    peers.wait(LONGEST_SILENCE + 120.0)
    peers.offer("a", status=PeerStatus.SNAPSHOT)  # to the round after the fork
    peers.wait(2 * LONGEST_SILENCE)
    assert peers.machines["a"].closed
    assert "FORK: 1 of 2 members are left" in peers.said("a")


@pytest.mark.parametrize("others", [PeerStatus.TRAINING, PeerStatus.SNAPSHOT])
def test_a_peer_that_still_reaches_sync_points_is_waited_for_however_slow_it_is(founded, others: PeerStatus) -> None:
    peers = founded("a", "b", "c", straggler_timeout=1.0)
    for _ in range(3):
        peers.offer("a", "b", status=others)
        peers.wait(LONGEST_SILENCE - 30.0)
        peers.offer("c")
        peers.wait(5.0)
        assert not peers.machines["a"].closed
        assert not peers.machines["a"].left_out


def test_peers_may_finish_in_different_ways_and_at_different_times(founded) -> None:
    peers = founded("a", "b", "c")
    for name, status in zip("abc", FINISHED, strict=True):
        assert not peers.machines["a"].closed
        peers.offer(name, status=status)
        peers.offer(*sorted({*"abc"} - {*"abc"[: "abc".index(name) + 1]}))
        for done, way in zip("abc"[: "abc".index(name) + 1], FINISHED, strict=False):
            if not peers.machines[done].closed and not peers.machines[done].offered:
                peers.offer(done, status=way)
    assert all(peers.machines[name].closed for name in "abc")
    assert len({peers.commits(name)[-1] for name in "abc"}) == 1


def test_without_contributions_the_last_committed_model_is_the_closing_one(founded) -> None:
    peers = founded("a", "b")
    peers.offer("a", "b", status=PeerStatus.INACTIVE)
    commit = peers.commits("b")[-1]
    assert commit.closing
    assert commit.contributors == ()
    assert commit.digest == peers.commits("b")[-2].digest


@pytest.mark.parametrize("status", FINISHED)
def test_without_training_since_the_last_merge_its_model_is_the_closing_one(founded, status: PeerStatus) -> None:
    peers = founded("a", "b")
    peers.offer("a", "b", steps=3)
    peers.offer("a", "b", status=status)
    commit = peers.commits("b")[-1]
    assert commit.closing
    assert commit.contributors == ()
    assert commit.digest == peers.commits("b")[-2].digest


@pytest.mark.parametrize("weight", [0, 1])
def test_steps_that_are_in_no_merge_yet_are_merged_by_the_closing_round(founded, weight: int) -> None:
    peers = founded("a", "b")
    peers.offer("a", status=PeerStatus.SNAPSHOT, steps=3, weight=weight)
    peers.offer("b", status=PeerStatus.SNAPSHOT)
    assert peers.commits("b")[-1].contributors == (("a", "b") if weight else ())


def test_without_contributions_the_model_sent_must_be_the_last_one(founded) -> None:
    """The peer that sends it to all cannot change it."""
    peers = founded("a", "b", "c")
    peers.exchanging = False
    peers.offer("a", "b", "c", status=PeerStatus.INACTIVE)
    (proposal,) = peers.running()
    assert proposal.contributors == ()
    (holder,) = proposal.senders
    norms = peers.norms(proposal)
    for name in "abc":
        peers.do(name, peers.machines[name].exchanged(proposal.key, "another model", norms, peers.now))
    peers.deliver()
    assert not any(commit.digest == "another model" for name in "abc" for commit in peers.commits(name))
    leader = proposal.attempt.leader
    assert f"{holder} sent another model than the last one" in peers.said(leader)


def test_the_session_does_not_close_while_a_live_peer_trains(founded) -> None:
    peers = founded("a", "b", "c")
    peers.offer("a", "b", status=PeerStatus.SNAPSHOT)
    peers.wait(100)
    assert not peers.running()
    peers.offer("c")
    assert not peers.commits("c")[-1].closing


def test_the_session_does_not_close_while_a_live_peer_is_excluded_after_an_aborted_attempt(founded) -> None:
    peers = founded("a", "b", "c")
    leader = peers.leader()
    trainer = next(name for name in "abc" if name != leader)
    peers.exchanging = False
    peers.offer(*sorted({*"abc"} - {trainer}), status=PeerStatus.SNAPSHOT)
    peers.offer(trainer)
    (proposal,) = peers.running()
    peers.exchanging = True
    peers.do(leader, peers.machines[leader].exchange_failed(proposal.key, trainer, "silence", peers.now))
    peers.deliver()
    peers.wait(5)
    assert peers.commits(trainer)[-1].round == 1
    assert not peers.commits(trainer)[-1].closing


def test_it_closes_without_a_peer_that_is_gone(founded) -> None:
    peers = founded("a", "b", "c")
    peers.offer("a", "b", status=PeerStatus.ACTIVE)
    peers.crash("c")
    peers.wait(15)
    assert peers.commits("a")[-1].closing
    assert peers.commits("a")[-1].members == ("a", "b")


def test_a_peer_may_go_once_all_others_have_the_closing_round(founded) -> None:
    peers = founded("a", "b", "c")
    late = next(name for name in "abc" if name != peers.leader())
    others = sorted({*"abc"} - {late})
    peers.drop = lambda sender, to, message: to == late and type(message).__name__ == "Decide"
    peers.offer("a", "b", "c", status=PeerStatus.INACTIVE)
    assert not any(peers.machines[name].farewelled for name in others)
    peers.drop = lambda sender, to, message: False
    peers.wait(2)
    assert peers.machines[late].closed
    assert all(peers.machines[name].farewelled for name in "abc")


def test_a_peer_that_missed_the_closing_round_fetches_its_model(founded) -> None:
    peers = founded("a", "b", "c")
    away = "c"
    peers.part("ab", away)
    peers.offer("a", "b", status=PeerStatus.INACTIVE)
    peers.wait(30)
    closing = peers.commits("a")[-1]
    assert closing.closing
    peers.meet("a", away)
    peers.offer(away)
    assert peers.all(away, Heal)[-1].commit == closing
    assert peers.machines[away].closed


def test_a_closed_peer_starts_nothing(founded) -> None:
    peers = founded("a", "b")
    peers.offer("a", "b", status=PeerStatus.INACTIVE)
    before = len(peers.sent)
    peers.wait(600)
    assert len(peers.sent) == before


def test_a_peer_that_stood_still_takes_nobody_for_silent(founded) -> None:
    peers = founded("a", "b", "c", min_peers=1)
    peers.offer("a", status=PeerStatus.SNAPSHOT)
    peers.wait(1.0)
    peers.now += 1000.0
    peers.do("a", peers.machines["a"].tick(peers.now))
    peers.wait(1.0)
    assert "counts as gone" not in peers.said("a")
    assert len(peers.commits("a")) == 1
    peers.wait(700.0)
    assert "counts as gone" in peers.said("a")

"""Peers that have trained their own epochs and train on until every live peer has."""

from __future__ import annotations

import pytest

from swarm.consensus.effects import Heal, Skip
from swarm.consensus.timing import LONGEST_SILENCE
from swarm.messages import Propose
from swarm.records import PeerStatus
from swarm.sync import ValidationInterval

TRAINING, EXTENDED, INACTIVE, SNAPSHOT, ACTIVE = PeerStatus
FINISHED = [INACTIVE, SNAPSHOT, ACTIVE]


def test_it_is_not_finished_and_contributes_like_a_training_peer(founded) -> None:
    assert not EXTENDED.finished
    peers = founded("a", "b")
    peers.offer("a", status=EXTENDED, steps=4)
    peers.offer("b", steps=4)
    commit = peers.commits("a")[-1]
    assert commit.contributors == ("a", "b")
    assert (commit.closing, commit.done) == (False, False)


def test_without_new_steps_it_contributes_nothing_and_its_loss_counts(founded) -> None:
    peers = founded("a", "b", policy=ValidationInterval(8))
    peers.offer("a", status=EXTENDED, steps=0, signal=1.0)
    peers.offer("b", steps=4, signal=2.0)
    commit = peers.commits("a")[-1]
    assert commit.contributors == ("b",)
    assert commit.sync.reference == 1.5


def test_all_are_done_in_the_round_in_which_the_last_one_has_trained_its_own(founded) -> None:
    peers = founded("a", "b", "c")
    for status in (TRAINING, EXTENDED):
        peers.offer("a", "b", status=EXTENDED, steps=4)
        peers.offer("c", status=status, steps=4)
        commits = {peers.commits(name)[-1] for name in "abc"}
        assert [(commit.done, commit.closing) for commit in commits] == [(status is EXTENDED, False)]


@pytest.mark.parametrize("status", FINISHED)
def test_peers_that_have_finished_keep_nobody_training(founded, status: PeerStatus) -> None:
    peers = founded("a", "b", "c")
    peers.offer("a", "b", status=status)
    peers.offer("c", status=EXTENDED, steps=4)
    assert {peers.commits(name)[-1].done for name in "abc"} == {True}
    assert not peers.commits("c")[-1].closing


def test_where_all_have_finished_nobody_is_told_to_stop(founded) -> None:
    peers = founded("a", "b")
    peers.offer("a", "b", status=SNAPSHOT)
    commit = peers.commits("a")[-1]
    assert (commit.done, commit.closing) == (False, True)


def test_a_live_peer_that_is_late_may_still_have_epochs_to_train(founded) -> None:
    peers = founded("a", "b", "c")
    peers.offer("a", "b", status=EXTENDED, steps=4)
    peers.wait(5)
    commit = peers.commits("a")[-1]
    assert (commit.round, commit.group, commit.done) == (1, ("a", "b"), False)


def test_nobody_trains_on_for_ever_for_a_live_peer_that_reaches_no_sync_point(founded) -> None:
    peers = founded("a", "b", "c", straggler_timeout=1.0)
    rounds = 0
    while not peers.commits("a")[-1].done and rounds < 100:
        peers.offer("a", "b", status=PeerStatus.EXTENDED)
        peers.wait(10.0)
        rounds += 1
    assert LONGEST_SILENCE / 10 < rounds < 100


def test_a_peer_that_is_gone_is_not_waited_for(founded) -> None:
    peers = founded("a", "b", "c")
    peers.crash("c")
    peers.offer("a", "b", status=EXTENDED, steps=4)
    peers.wait(5)
    assert peers.commits("b")[-1].done


def test_a_live_peer_that_is_excluded_after_an_aborted_attempt_may_have_epochs_to_train(founded) -> None:
    peers = founded("a", "b", "c")
    leader = peers.leader()
    odd = next(name for name in "abc" if name != leader)
    peers.exchanging = False
    peers.offer("a", "b", "c", status=EXTENDED, steps=4)
    (proposal,) = peers.running()
    assert proposal.done
    peers.exchanging = True
    peers.do(leader, peers.machines[leader].exchange_failed(proposal.key, odd, "silence", peers.now))
    peers.deliver()
    peers.wait(1)
    commit = peers.commits(leader)[-1]
    assert odd not in commit.group
    assert not commit.done


def test_a_peer_that_missed_the_round_learns_it_with_its_record(founded) -> None:
    peers = founded("a", "b", "c")
    peers.part("ab", "c")
    peers.offer("a", "b", status=EXTENDED, steps=4)
    peers.wait(30)
    assert peers.commits("a")[-1].done
    peers.meet("a", "c")
    peers.offer("c", status=EXTENDED, steps=4)
    assert peers.all("c", Heal)[-1].commit == peers.commits("a")[-1]


def test_a_member_that_only_passes_the_last_model_on_is_not_taken_for_one_that_has_trained(founded) -> None:
    """Without contributions one member sends the last model to all; it still trains."""
    peers = founded("a", "b")
    peers.offer("a", weight=0)
    peers.offer("b", status=EXTENDED, weight=0)
    proposal = [message.proposal for _, _, message in peers.sent if isinstance(message, Propose)][-1]
    assert [entry.status for entry in proposal.entries] == [ACTIVE, EXTENDED]
    assert not peers.commits("b")[-1].done


def test_its_weights_are_screened_and_it_may_give_the_module_state(founded) -> None:
    peers = founded("a", "b", "c", "d")
    peers.offer("a", "b", "c", status=EXTENDED, steps=4, delta_norm=1.0)
    peers.offer("d", status=EXTENDED, steps=4, delta_norm=1e6)
    assert peers.commits("a")[-1].contributors == ("a", "b", "c")
    assert "contribution of d left out" in "".join(peers.said(name) for name in "abcd")
    peers.offer("a", status=SNAPSHOT, weight=1)
    peers.offer("b", "c", "d", status=EXTENDED, steps=4)
    proposal = [message.proposal for _, _, message in peers.sent if isinstance(message, Propose)][-1]
    assert proposal.source == "b"


def test_a_sync_point_says_whether_this_peer_can_take_part_in_no_round(founded) -> None:
    """Then it need not train on."""
    peers = founded("a", "b", "c", straggler_timeout=1.0, failure_timeout=2.0)
    peers.offer("a", status=EXTENDED, steps=4)
    peers.wait(60)
    peers.crash("b", "c")
    peers.offer("a", status=EXTENDED, steps=8)
    peers.wait(5)
    late, gone = peers.all("a", Skip)
    assert ("did not reach a sync point" in late.reason, late.alone) == (True, False)
    assert ("below quorum" in gone.reason, gone.alone) == (True, True)


def test_a_peer_whose_own_exchanges_fail_can_take_part_in_no_round(founded) -> None:
    peers = founded("a", "b", straggler_timeout=1.0)
    peers.exchanging = False
    peers.offer("a", "b", status=EXTENDED, steps=4)
    for _ in range(3):
        for proposal in peers.running():
            peers.do("a", peers.machines["a"].exchange_failed(proposal.key, "a", "a broken rule", peers.now))
            peers.deliver()
        peers.wait(3)
    (skip,) = peers.all("a", Skip)
    assert ("by itself" in skip.reason, skip.alone) == (True, True)

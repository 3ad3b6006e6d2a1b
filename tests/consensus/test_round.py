"""Rounds in which little goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from swarm.consensus.effects import Apply, Heal, Skip, StartExchange, StopExchange
from swarm.messages import Abort, Accept, Accepted, Decide, Failed, Offer, Propose
from swarm.records import Attempt, PeerStatus, SyncState
from swarm.sync import SyncPolicy


def test_all_offer_and_all_apply_one_result(founded) -> None:
    peers = founded("a", "b", "c")
    peers.offer("a", "b")
    assert not peers.running()
    peers.offer("c")
    commits = [peers.commits(name)[-1] for name in "abc"]
    assert commits == [commits[0]] * 3
    assert (commits[0].round, commits[0].contributors, commits[0].weights) == (1, ("a", "b", "c"), (1, 1, 1))
    assert not any(peers.machines[name].offered for name in "abc")


def test_an_offer_in_the_name_of_another_peer_is_ignored_with_a_warning(founded) -> None:
    peers = founded("a", "b", "c")
    peers.offer("a", "b")
    forged = replace(next(message for _, _, message in peers.sent if isinstance(message, Offer)), votes=True)
    forged = replace(forged, stats=replace(forged.stats, peer="c", round=1))
    for to in "ac":
        peers.tell("b", to, forged)
    assert not peers.running()
    assert "b sent an offer in the name of c; it is ignored" in peers.said("a")
    peers.offer("c")
    assert peers.commits("a")[-1].contributors == ("a", "b", "c")


def test_an_exchange_is_stopped_before_its_model_is_applied(founded) -> None:
    peers = founded("a", "b", "c")
    peers.offer("a", "b", "c")
    for name in "abc":
        kinds = [
            type(effect) for effect in peers.effects[name] if isinstance(effect, (StartExchange, StopExchange, Apply))
        ]
        assert kinds == [StartExchange, StopExchange, Apply] * 2


def test_no_peer_applies_before_a_majority_has_accepted(founded) -> None:
    peers = founded("a", "b", "c")
    peers.drop = lambda sender, to, message: isinstance(message, Accepted)
    peers.offer("a", "b", "c")
    assert all(len(peers.commits(name)) == 1 for name in "abc")
    peers.drop = lambda sender, to, message: False
    peers.wait(2)
    assert all(len(peers.commits(name)) == 2 for name in "abc")


def test_a_straggler_is_left_out_after_the_straggler_timeout_and_heals(founded) -> None:
    peers = founded("a", "b", "c", straggler_timeout=1.0)
    peers.offer("a", "b")
    peers.wait(0.9)
    assert not peers.running()
    peers.wait(0.2)
    commit = peers.commits("a")[-1]
    assert (commit.round, commit.group, commit.members) == (1, ("a", "b"), ("a", "b", "c"))
    peers.offer("c")
    assert [heal.commit for heal in peers.all("c", Heal)] == [commit]
    peers.offer("a", "b")
    assert peers.commits("c")[-1].group == ("a", "b", "c")


def test_a_peer_that_went_on_is_not_waited_for_as_if_it_had_offered(founded) -> None:
    peers = founded("a", "b", "c", min_peers=3, start_timeout=60)
    peers.offer("a", "b")
    peers.wait(60)
    assert [type(effect) for effect in peers.all("a", Skip)] == [Skip]
    peers.offer("c")
    assert not peers.running()
    peers.offer("a", "b")
    assert peers.commits("c")[-1].round == 1


def test_lost_messages_are_retransmitted(founded) -> None:
    peers = founded("a", "b", "c")
    seen = set()

    def drop_first(sender: str, to: str, message: object) -> bool:
        kind = sender, to, type(message).__name__
        return not (kind in seen or seen.add(kind))

    peers.drop = drop_first
    peers.offer("a", "b", "c")
    peers.wait(12)
    assert len({peers.commits(name)[-1] for name in "abc"}) == 1
    assert peers.commits("a")[-1].round == 1


def test_duplicates_and_stale_messages_change_nothing(founded) -> None:
    peers = founded("a", "b", "c")
    peers.offer("a", "b", "c")
    peers.offer("a", "b", "c")
    effects = {name: len(peers.effects[name]) for name in "abc"}
    for sender, to, message in list(peers.sent):
        if not isinstance(message, Offer):
            peers.tell(sender, to, message)
    kinds = (StartExchange, StopExchange, Heal, Skip)
    assert not [
        effect for name in "abc" for effect in peers.effects[name][effects[name] :] if isinstance(effect, kinds)
    ]
    assert all(len(peers.commits(name)) == 3 for name in "abc")


def test_a_contribution_with_nan_is_left_out_and_its_peer_receives(founded) -> None:
    peers = founded("a", "b", "c")
    peers.offer("a", "b")
    peers.offer("c", finite=False)
    commit = peers.commits("c")[-1]
    assert (commit.group, commit.contributors) == (("a", "b", "c"), ("a", "b"))
    assert any("contribution of c left out: its tensors hold NaN" in peers.said(name) for name in "abc")


def test_no_peer_counts_more_than_it_joined_with(founded) -> None:
    peers = founded("a", "b", "c")
    boaster = next(name for name in "abc" if name != peers.leader())
    peers.offer(boaster, weight=100)
    peers.offer(*sorted({*"abc"} - {boaster}))
    assert boaster not in peers.commits("a")[-1].contributors
    assert any("claims weight 100 and joined with 1" in peers.said(name) for name in "abc")


def test_a_proposal_from_another_than_its_leader_is_ignored(founded) -> None:
    peers = founded("a", "b", "c")
    peers.exchanging = False
    peers.offer("a", "b", "c")
    (proposal,) = peers.running()
    other, member = sorted({*"abc"} - {proposal.attempt.leader})
    forged = replace(proposal, attempt=Attempt(9, proposal.attempt.leader))
    peers.tell(other, member, Propose(forged))
    assert [each.key for each in peers.running()] == [proposal.key]


def test_a_member_blames_itself_for_a_proposal_it_cannot_join(founded) -> None:
    peers = founded("a", "b", "c")
    peers.exchanging = False
    peers.offer("a", "b", "c")
    (proposal,) = peers.running()
    member = next(name for name in "abc" if name != proposal.attempt.leader)
    odd = replace(proposal, parent="elsewhere", attempt=Attempt(3, proposal.attempt.leader))
    peers.tell(proposal.attempt.leader, member, Propose(odd))
    failed = [message for sender, _, message in peers.sent if sender == member and type(message).__name__ == "Failed"]
    assert (failed[-1].blamed, failed[-1].attempt) == (member, odd.attempt)


def test_after_an_aborted_attempt_the_blamed_peer_is_left_out(founded) -> None:
    peers = founded("a", "b", "c", "d")
    peers.exchanging = False
    peers.offer(*"abcd")
    (proposal,) = peers.running()
    leader = proposal.attempt.leader
    blamed, witness = sorted({*"abcd"} - {leader})[:2]
    peers.exchanging = True
    peers.do(witness, peers.machines[witness].exchange_failed(proposal.key, blamed, "silence", peers.now))
    peers.deliver()
    peers.wait(1.5)
    commit = peers.commits(leader)[-1]
    assert commit.round == 1
    assert set(commit.group) == {*"abcd"} - {blamed}
    assert "aborted: silence" in peers.said(leader)


def test_an_attempt_that_was_left_is_not_joined_again(founded) -> None:
    peers = founded("a", "b", "c")
    peers.exchanging = False
    peers.offer("a", "b", "c")
    (proposal,) = peers.running()
    leader = proposal.attempt.leader
    member = next(name for name in "abc" if name != leader)
    peers.tell(leader, member, Abort(*proposal.key, "a test"))
    starts = len(peers.all(member, StartExchange))
    peers.tell(leader, member, Propose(proposal))
    assert not [start for start in peers.all(member, StartExchange)[starts:] if start.proposal.key == proposal.key]


def test_members_that_assembled_other_bytes_are_left_out(founded) -> None:
    peers = founded("a", "b", "c")
    peers.exchanging = False
    peers.offer("a", "b", "c")
    (proposal,) = peers.running()
    leader = proposal.attempt.leader
    odd = next(name for name in "abc" if name != leader)
    peers.exchanging = True
    for name in "abc":
        digest = "odd" if name == odd else "even"
        peers.do(name, peers.machines[name].exchanged(proposal.key, digest, peers.norms(proposal), peers.now))
    peers.deliver()
    peers.wait(1.5)
    assert odd not in peers.commits(leader)[-1].group
    assert f"{odd} assembled other bytes" in peers.said(leader)


def test_a_stray_ready_of_an_earlier_attempt_does_not_count(founded) -> None:
    peers = founded("a", "b", "c")
    peers.exchanging = False
    peers.offer("a", "b", "c")
    (proposal,) = peers.running()
    leader = proposal.attempt.leader
    stale = replace(proposal, attempt=Attempt(-1, leader))
    peers.sent.clear()
    for name in sorted({*"abc"} - {leader}):
        peers.tell(name, leader, peers.ready(name, stale, "bytes", peers.norms(proposal)))
    peers.do(leader, peers.machines[leader].exchanged(proposal.key, "bytes", peers.norms(proposal), peers.now))
    peers.deliver()
    assert not any(isinstance(message, Accept) for _, _, message in peers.sent)
    assert len(peers.commits(leader)) == 1


class Following(SyncPolicy):
    """Adds the number of signals to the interval, and keeps their sum."""

    name = "following"

    def next(self, state: SyncState, signals: Sequence[tuple[int, float]]) -> SyncState:
        return SyncState(state.interval + len(signals), sum(weight * signal for weight, signal in signals))


def test_the_interval_of_the_policy_is_in_the_record(founded) -> None:
    peers = founded("a", "b", policy=Following(8))
    assert peers.commits("a")[-1].sync == SyncState(8)
    peers.offer("a", signal=0.5)
    peers.offer("b", signal=0.25, weight=1)
    assert peers.commits("a")[-1].sync == peers.commits("b")[-1].sync == SyncState(10, 0.75)
    peers.offer("a", "b", signal=1.0)
    assert peers.commits("a")[-1].sync == SyncState(12, 2.0)


@pytest.mark.parametrize("status", [PeerStatus.SNAPSHOT, PeerStatus.ACTIVE, PeerStatus.INACTIVE])
def test_a_finished_peer_takes_part_in_the_rounds_of_those_who_train(founded, status: PeerStatus) -> None:
    peers = founded("a", "b", "c")
    peers.offer("a", status=status)
    peers.wait(5)
    assert not peers.running()
    peers.offer("b", "c")
    commit = peers.commits("a")[-1]
    assert commit.group == ("a", "b", "c")
    assert ("a" in commit.contributors) is (status is not PeerStatus.INACTIVE)
    assert not commit.closing


def test_an_offer_of_the_past_is_answered_with_the_present(founded) -> None:
    peers = founded("a", "b", "c")
    peers.offer("a", "b", "c")
    peers.tell("b", "a", peers.offer_of("b", peers.commits("a")[0]))
    assert peers.sent[-1] == ("a", "b", Decide(peers.commits("a")[-1]))


def test_a_failure_that_blames_an_unknown_peer_counts_against_its_sender(founded) -> None:
    peers = founded("a", "b", "c")
    peers.exchanging = False
    peers.offer("a", "b", "c")
    for _ in range(50):
        proposal = [message.proposal for _, _, message in peers.sent if isinstance(message, Propose)][-1]
        leader = proposal.attempt.leader
        liar = next(name for name in "abc" if name != leader)
        peers.tell(liar, leader, Failed(*proposal.key, "nobody", "a lie"))
    attempts = {message.proposal.key for _, _, message in peers.sent if isinstance(message, Propose)}
    assert len(attempts) < 6

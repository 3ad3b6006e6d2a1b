"""Starts that fail, and peers that are refused."""

from __future__ import annotations

import math
from random import Random

import pytest

from swarm.consensus.effects import Fail
from swarm.consensus.paxos import leader_order
from swarm.errors import ConfigurationError, ModelError
from swarm.messages import Abort, Failed, Offer, Propose


def test_a_refused_peer_is_not_waited_for(swarm) -> None:
    peers = swarm("ab", expected=3)
    peers.offer("a", "b")
    assert not peers.commits("a")
    for name in "ab":
        peers.do(name, peers.machines[name].peer_refused("odd", peers.now))
    peers.deliver()
    assert peers.commits("a")[0].members == ("a", "b")


def test_too_few_compatible_peers_fail_at_once_and_name_the_others(swarm) -> None:
    peers = swarm("a", expected=2)
    peers.offer("a")
    peers.do("a", peers.machines["a"].peer_refused("odd", peers.now))
    (failure,) = peers.all("a", Fail)
    assert "incompatible peers: odd" in failure.reason


def test_a_start_that_times_out_fails_and_names_the_peers_that_came(swarm) -> None:
    peers = swarm("ab", min_peers=3, start_timeout=60)
    peers.offer("a", "b")
    peers.wait(59)
    assert not peers.all("a", Fail)
    peers.wait(2)
    reason = peers.all("a", Fail)[0].reason
    assert "2 of the 3 peers needed" in reason
    assert "start_timeout=60" in reason
    assert "there: b" in reason


def test_a_refused_peer_that_fits_after_all_is_waited_for_again(swarm) -> None:
    peers = swarm("ab", expected=3)
    peers.offer("a")
    for name in "ab":
        peers.do(name, peers.machines[name].peer_refused("c", peers.now))
    peers.add("c")
    peers.offer("b")
    assert not peers.commits("a")
    peers.offer("c")
    assert peers.commits("a")[0].members == ("a", "b", "c")


def test_a_start_without_finite_weights_anywhere_fails_at_once_and_says_whose(swarm) -> None:
    peers = swarm("abc", expected=3)
    peers.offer("a", "b", "c", finite=False)
    for name in "abc":
        (fail,) = peers.all(name, Fail)
        assert "the weights of a, b, c hold NaN or infinity" in fail.reason
        assert fail.error is ModelError
    assert not any(isinstance(message, Propose) for _, _, message in peers.sent)


def test_a_start_in_which_nobody_has_a_weight_fails_at_once_and_says_who(swarm) -> None:
    peers = swarm("ab", expected=2)
    peers.offer("a", "b", weight=0)
    for name in "ab":
        (fail,) = peers.all(name, Fail)
        assert "node_weightage is 0 at a, b" in fail.reason
        assert fail.error is ConfigurationError


def test_one_weight_is_enough_to_start(swarm) -> None:
    peers = swarm("ab", expected=2)
    peers.offer("a", weight=0)
    peers.offer("b")
    assert peers.commits("a")


def test_a_founding_attempt_that_fails_is_not_repeated_without_a_pause(swarm) -> None:
    peers = swarm("ab", expected=2)
    peers.exchanging = False
    peers.offer("a", "b")
    for _ in range(20):
        proposed = [message.proposal for _, _, message in peers.sent if isinstance(message, Propose)]
        key = proposed[-1].key
        for name in "ab":
            peers.do(name, peers.machines[name].exchange_failed(key, "b", "a broken rule", peers.now))
        peers.deliver()
    assert len({proposal.key for proposal in proposed}) == 1
    peers.wait(60)
    attempts = {message.proposal.key for _, _, message in peers.sent if isinstance(message, Propose)}
    assert 1 < len(attempts) < 40


def test_the_start_ends_at_its_time_out_where_the_first_round_does_not_commit(swarm) -> None:
    peers = swarm("ab", expected=2, start_timeout=60.0)
    leader = leader_order("s", 0, "ab")[0]
    (other,) = {*"ab"} - {leader}
    peers.drop = lambda sender, to, message: sender == leader and not isinstance(message, Offer)
    peers.offer("a", "b")
    peers.wait(59)
    assert not peers.all(other, Fail)
    peers.wait(2)
    fail = peers.all(other, Fail)[0]
    assert fail.reason == "the first round did not commit within start_timeout=60 s"


def test_a_start_that_cannot_merge_fails_also_where_the_others_have_failed_and_left(swarm) -> None:
    peers = swarm("abc", expected=3)
    peers.drop = lambda sender, to, message: to == "c" and sender == "b"
    peers.offer("a", "b", "c", weight=0)
    assert peers.all("a", Fail)
    assert not peers.all("c", Fail)
    peers.drop = lambda sender, to, message: False
    peers.crash("a")
    peers.wait(2)
    assert peers.all("c", Fail)


def test_a_refused_peer_that_fits_after_all_counts_as_expected_even_when_it_leaves_again(swarm) -> None:
    peers = swarm("ab", expected=3, straggler_timeout=5.0)
    for name in "ab":
        peers.do(name, peers.machines[name].peer_refused("c", peers.now))
    peers.add("c")
    peers.crash("c")
    peers.offer("a", "b")
    peers.wait(4.9)
    assert not peers.commits("a")
    peers.wait(0.2)
    assert peers.commits("a")


def test_one_refused_peer_does_not_end_a_start_that_others_can_still_make(swarm) -> None:
    peers = swarm("a", expected=3, min_peers=2)
    peers.offer("a")
    peers.do("a", peers.machines["a"].peer_refused("odd", peers.now))
    peers.wait(59)
    assert not peers.all("a", Fail)


def test_a_refused_peer_that_expects_an_unknown_number_waits_for_five_seconds_from_the_first_refusal(swarm) -> None:
    peers = swarm("a", expected=0, min_peers=2)
    peers.offer("a")
    peers.wait(10)
    peers.do("a", peers.machines["a"].peer_refused("odd", peers.now))
    peers.wait(3)
    peers.do("a", peers.machines["a"].peer_refused("other", peers.now))
    peers.wait(1.9)
    assert not peers.all("a", Fail)
    peers.wait(0.2)
    (failure,) = peers.all("a", Fail)[:1]
    assert failure.reason == "incompatible peers: odd, other; compatible: nobody else of session s"


def test_a_refused_peer_that_fits_after_all_gives_the_next_refused_one_its_time(swarm) -> None:
    peers = swarm("a", expected=0, min_peers=3)
    peers.offer("a")
    peers.do("a", peers.machines["a"].peer_refused("b", peers.now))
    peers.wait(4)
    peers.add("b")
    peers.do("a", peers.machines["a"].peer_refused("c", peers.now))
    peers.wait(4.9)
    assert not peers.all("a", Fail)
    peers.wait(0.2)
    assert peers.all("a", Fail)[0].reason == "incompatible peers: c; compatible: b"


@pytest.mark.parametrize(("possible", "refused", "ends"), [(4, "b", False), (4, "bc", False), (4, "bcd", True)])
def test_where_peers_are_proven_the_start_ends_only_if_so_many_refuse_that_the_rest_is_too_few(
    swarm, possible: float, refused: str, ends: bool
) -> None:
    peers = swarm("a", expected=0, min_peers=2, possible=possible)
    peers.offer("a")
    for name in refused:
        peers.do("a", peers.machines["a"].peer_refused(name, peers.now))
    peers.wait(59)
    assert bool(peers.all("a", Fail)) is ends


def test_where_anybody_may_come_with_a_proven_name_the_start_waits_for_others(swarm) -> None:
    peers = swarm("a", expected=0, min_peers=2, possible=math.inf)
    peers.offer("a")
    for name in "bcdef":
        peers.do("a", peers.machines["a"].peer_refused(name, peers.now))
    peers.wait(59)
    assert not peers.all("a", Fail)


@pytest.mark.parametrize("require_all", [False, True])
def test_peers_that_nobody_expects_end_no_start_by_refusing(swarm, require_all: bool) -> None:
    peers = swarm("a", expected=3, members=frozenset("abc"), require_all=require_all)
    peers.offer("a")
    for name in "xyz":
        peers.do("a", peers.machines["a"].peer_refused(name, peers.now))
    peers.wait(40)
    assert not peers.all("a", Fail)
    for name in "bc":
        peers.do("a", peers.machines["a"].peer_refused(name, peers.now))
    assert bool(peers.all("a", Fail)) is not require_all
    peers.wait(6.0)
    assert "incompatible peers: b, c" in peers.all("a", Fail)[0].reason


def test_refused_peers_do_not_matter_where_enough_others_are_there(swarm) -> None:
    peers = swarm("ab", expected=0, min_peers=2, straggler_timeout=30.0)
    peers.offer("a")
    peers.do("a", peers.machines["a"].peer_refused("odd", peers.now))
    peers.wait(20)
    assert not peers.all("a", Fail)


def test_a_start_without_weights_does_not_fail_while_another_peer_is_expected(swarm) -> None:
    peers = swarm("abc", expected=4)
    peers.offer("a", "b", weight=0)
    peers.crash("a")
    peers.offer("c", weight=0)
    peers.wait(0.5)
    assert not peers.all("b", Fail), "a fourth peer may have a weight"


def test_a_founding_attempt_whose_leader_is_silent_is_left_after_the_failure_timeout(swarm) -> None:
    peers = swarm("ab", expected=2, failure_timeout=10.0)
    peers.exchanging = False
    leader = leader_order("s", 0, "ab")[0]
    (other,) = {*"ab"} - {leader}
    peers.offer("a", "b")
    assert peers.machines[other].pending
    peers.drop = lambda sender, to, message: True
    peers.wait(9.9)
    assert peers.machines[other].pending
    peers.wait(0.2)
    assert not peers.machines[other].pending


def ended(peers, peer: str, *told: str) -> None:
    for name in told:
        peers.do(name, peers.machines[name].peer_ended(peer, peers.now))
    peers.deliver()


def test_a_peer_that_has_ended_is_not_waited_for(swarm) -> None:
    peers = swarm("ab", expected=3)
    peers.offer("a", "b")
    assert not peers.commits("a")
    ended(peers, "c", "a", "b", "a")
    assert peers.commits("a")[0].members == ("a", "b")
    assert peers.said("a").count("c has ended before the start: it is not waited for") == 1


def test_too_few_peers_that_are_left_fail_at_once_and_name_those_that_have_ended(swarm) -> None:
    peers = swarm("ab", expected=4, min_peers=3)
    peers.offer("a", "b")
    ended(peers, "c", "a", "b")
    assert not peers.all("a", Fail)
    ended(peers, "d", "a", "b")
    assert peers.all("a", Fail)[0].reason == "c, d ended before the start, and min_peers=3 are needed; there: b"


def test_where_all_are_required_the_start_fails_as_soon_as_one_has_ended(swarm) -> None:
    peers = swarm("ab", expected=3, require_all=True)
    peers.offer("a", "b")
    ended(peers, "c", "a", "b")
    assert "c ended before the start, and require_members is set" in peers.all("a", Fail)[0].reason


def test_a_peer_that_ended_and_comes_again_is_waited_for(swarm) -> None:
    peers = swarm("ab", expected=3)
    ended(peers, "c", "a", "b")
    peers.add("c")
    peers.offer("a", "b")
    assert not peers.commits("a")
    peers.offer("c")
    assert peers.commits("a")[0].members == ("a", "b", "c")


def test_a_peer_that_ends_after_the_start_changes_nothing(swarm) -> None:
    peers = swarm("ab", expected=2)
    peers.offer("a", "b")
    ended(peers, "b", "a")
    assert "ended before the start" not in peers.said("a")


@pytest.mark.parametrize("seed", range(12))
def test_whatever_each_has_heard_of_failed_attempts_the_start_goes_on_once_they_end(swarm, seed: int) -> None:
    """Each member hears half of who has blamed whom; all have to wait for the same peer nevertheless."""
    random = Random(seed)
    peers = swarm("abc", expected=3, straggler_timeout=0.1, failure_timeout=1.0)
    peers.exchanging = False
    peers.drop = lambda sender, to, message: isinstance(message, Failed) and random.random() < 0.5
    peers.offer(*"abc")
    for _ in range(12):
        for _ in range(500):
            if not peers.running():
                peers.wait(0.1)
        (proposal, *_) = peers.running()
        accuser, accused = random.sample(proposal.group, 2)
        peers.do(accuser, peers.machines[accuser].exchange_failed(proposal.key, accused, "silence", peers.now))
        peers.deliver()
        peers.wait(1.5)  # the leader may not have heard of it
    peers.drop, peers.exchanging = lambda sender, to, message: False, True
    peers.wait(4.0)
    assert any(peers.commits(name) for name in "abc")


def test_a_peer_that_is_to_propose_and_does_not_is_left_out(swarm) -> None:
    peers = swarm("abcd", expected=4, straggler_timeout=1.0, failure_timeout=2.0)
    first, *others = leader_order("s", 0, [*"abcd"])
    peers.drop = lambda sender, to, message: isinstance(message, Propose) and sender == first
    peers.offer(*"abcd")
    peers.wait(2.9)
    assert not any(peers.said(name) for name in others)
    peers.wait(0.2)
    assert all(f"{first}, which is to propose it, did not within 3 s" in peers.said(name) for name in others)
    assert {peers.commits(name)[-1].members for name in others} == {tuple(sorted(others))}


def test_a_peer_that_proposes_again_and_again_lets_another_one_propose(swarm) -> None:
    peers = swarm("abc", expected=3, straggler_timeout=0.1, failure_timeout=2.0)
    peers.exchanging = False
    first, *others = leader_order("s", 0, [*"abc"])
    peers.offer(*"abc")
    for _ in range(20):
        for proposal in peers.running():
            for member in {*proposal.group} & {*others} - {proposal.attempt.leader}:
                peers.tell(proposal.attempt.leader, member, Abort(*proposal.key, "a test"))
        peers.wait(0.5)
    assert {sender for sender, _, message in peers.sent if isinstance(message, Propose)} > {first}

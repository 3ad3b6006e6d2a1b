"""How a session starts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarm.consensus.effects import Fail, StartExchange
from swarm.consensus.paxos import leader_order
from swarm.messages import Abort, Accepted, Decide, Offer, Prepare, Proposal, Propose
from swarm.records import Attempt, Origin


def another(first: Proposal, number: int) -> Proposal:
    """Another attempt of the same leader, with the same group."""
    lineage = f"lineage {number}"
    attempt = replace(first.attempt, counter=number)
    return replace(first, lineage=lineage, attempt=attempt, origins=(Origin(lineage, 0, majority=True),))


def test_the_expected_peers_start_at_once_from_the_weights_of_one(swarm) -> None:
    peers = swarm("abc", expected=3)
    peers.offer("a", "b")
    peers.wait(0.9)
    assert not peers.commits("a")
    peers.offer("c")
    (commit,) = peers.commits("a")
    assert (commit.round, commit.members, len(commit.contributors)) == (0, ("a", "b", "c"), 1)
    assert [peers.commits(name) for name in "bc"] == [[commit], [commit]]


def test_an_unknown_number_of_peers_starts_with_min_peers_after_the_straggler_timeout(swarm) -> None:
    peers = swarm("abc", min_peers=2, straggler_timeout=1.0)
    peers.offer("a", "b")
    peers.wait(0.9)
    assert not peers.commits("a")
    peers.wait(0.2)
    assert peers.commits("a")[0].members == ("a", "b")


def test_each_arrival_starts_the_straggler_timeout_anew(swarm) -> None:
    peers = swarm("ab", min_peers=2, straggler_timeout=1.0, expected=4)
    peers.offer("a", "b")
    peers.wait(0.9)
    peers.add("c")
    peers.offer("c")
    peers.wait(0.9)
    assert not peers.commits("a")
    peers.wait(0.2)
    assert peers.commits("a")[0].members == ("a", "b", "c")


def test_a_waiting_start_logs_the_names_of_members_that_never_came(swarm) -> None:
    peers = swarm("ab", expected=4, members=frozenset({"a", "b", "paris"}))
    peers.offer("a")
    peers.wait(31)
    assert "waiting to start with b, paris (never came), 1 more (never came), for 30 s at most" in peers.said("a")


@pytest.mark.parametrize(("expected", "members"), [(3, frozenset()), (3, frozenset({"a", "b", "c"}))])
def test_a_start_that_requires_all_waits_for_the_last_one(swarm, expected: int, members: frozenset[str]) -> None:
    peers = swarm("ab", expected=expected, members=members, require_all=True, straggler_timeout=1.0)
    peers.offer("a", "b")
    peers.wait(50.0)
    assert not peers.commits("a")
    peers.add("c")
    peers.offer("c")
    assert peers.commits("a")[0].members == ("a", "b", "c")


def test_a_required_member_is_no_other_peer(swarm) -> None:
    peers = swarm("abc", expected=3, members=frozenset({"a", "b", "paris"}), require_all=True)
    peers.offer("a", "b", "c")
    peers.wait(61.0)
    assert not peers.commits("a")
    assert "paris did not come within start_timeout=60 s, and require_members is set" in peers.all("a", Fail)[0].reason


def test_a_required_peer_that_is_there_and_offers_nothing_is_named(swarm) -> None:
    peers = swarm("abc", expected=3, require_all=True)
    peers.offer("a", "b")
    peers.wait(61.0)
    assert "c came, and did not offer its weights within start_timeout=60 s" in peers.all("a", Fail)[0].reason


def test_an_incompatible_peer_ends_a_start_that_requires_all(swarm) -> None:
    peers = swarm("ab", expected=3, require_all=True)
    peers.offer("a", "b")
    peers.do("a", peers.machines["a"].peer_refused("c", peers.now))
    peers.wait(6.0)
    assert "incompatible peers: c, and require_members is set" in peers.all("a", Fail)[0].reason


def test_a_waiting_start_logs_the_names_of_the_missing(swarm) -> None:
    peers = swarm("ab", expected=4)
    peers.offer("a")
    peers.wait(31)
    assert "waiting to start with b, 2 more (never came), for 30 s at most" in peers.said("a")


def test_a_founder_that_dies_is_replaced(swarm) -> None:
    peers = swarm("abc", expected=3, min_peers=2)
    peers.exchanging = False
    peers.offer("a", "b", "c")
    (proposal,) = peers.running()
    peers.exchanging = True
    peers.crash(proposal.attempt.leader)
    peers.wait(2)
    survivors = sorted(peers.machines)
    commits = [peers.commits(name) for name in survivors]
    assert commits[0] == commits[1]
    assert commits[0][0].lineage != proposal.lineage


def test_a_founding_round_that_too_few_accept_is_aborted_by_its_leader(swarm) -> None:
    peers = swarm("ab", expected=2)
    lost = []
    peers.drop = lambda sender, to, message: type(message).__name__ == "Accepted" and bool(lost.append(sender) or True)
    peers.offer("a", "b")
    assert lost
    peers.drop = lambda sender, to, message: False
    peers.wait(15)
    (commit,) = peers.commits("a")
    assert peers.commits("b") == [commit]


def test_what_was_accepted_for_one_founding_attempt_is_kept_through_another_until_its_leader_aborts_it(swarm) -> None:
    peers = swarm("ab", expected=2)
    peers.drop = lambda sender, to, message: isinstance(message, Accepted)
    peers.offer("a", "b")
    first = next(message.proposal for _, _, message in peers.sent if isinstance(message, Propose))
    leader = first.attempt.leader
    member = "b" if leader == "a" else "a"
    (digest,) = peers.machines[member].needed
    peers.exchanging = False
    second = another(first, 9)
    peers.tell(leader, member, Propose(second))
    assert peers.all(member, StartExchange)[-1].proposal == second
    assert digest in peers.machines[member].needed
    peers.tell(leader, member, Abort(*first.key, "a test"))
    assert digest not in peers.machines[member].needed


def test_a_peer_that_may_start_alone_first_waits_for_those_at_the_given_addresses(swarm) -> None:
    peers = swarm("a", min_peers=1, seeks=True, straggler_timeout=30.0, failure_timeout=10.0)
    peers.offer("a")
    peers.wait(9.9)
    assert not peers.commits("a")
    peers.wait(0.2)
    assert peers.commits("a")[0].members == ("a",)


@pytest.mark.parametrize("rules", [{"seeks": False}, {"seeks": True, "expected": 1}])
def test_a_peer_without_addresses_to_look_at_starts_alone_at_once(swarm, rules: dict) -> None:
    peers = swarm("a", min_peers=1, straggler_timeout=30.0, **rules)
    peers.offer("a")
    assert peers.commits("a")


def test_a_peer_that_finds_a_running_session_in_that_time_joins_it(swarm) -> None:
    peers = swarm("ab", min_peers=1, seeks=True, straggler_timeout=30.0)
    peers.offer("a", "b")
    peers.add("n", alone=True)
    peers.offer("n")
    peers.wait(3)
    peers.meet("n", "a")
    assert not peers.commits("n")
    assert peers.machines["n"].commit == peers.machines["a"].commit


def test_a_late_newcomer_takes_the_current_model_and_joins_the_next_round(founded) -> None:
    peers = founded("a", "b")
    peers.offer("a", "b")
    peers.add("n")
    peers.offer("n")
    assert peers.machines["n"].commit == peers.machines["a"].commit
    assert not peers.commits("n")
    peers.offer("a", "b")
    commit = peers.commits("n")[-1]
    assert (commit.round, commit.members) == (2, ("a", "b", "n"))


def test_messages_of_unknown_peers_are_ignored(founded) -> None:
    peers = founded("a", "b")
    before = len(peers.sent)
    peers.do("a", peers.machines["a"].receive("stranger", Decide(peers.commits("a")[0]), peers.now))
    assert len(peers.sent) == before
    assert not any(isinstance(message, Propose) for _, _, message in peers.sent[before:])


def test_a_peer_whose_weights_are_not_finite_gets_those_of_one_whose_are(swarm) -> None:
    for odd in ("a", "b"):
        peers = swarm("ab", expected=2)
        other = "ab".replace(odd, "")
        peers.offer(odd, finite=False)
        peers.offer(other)
        (commit,) = peers.commits(odd)
        assert commit.contributors == (other,)


def test_a_start_prefers_module_state_without_nan(swarm) -> None:
    for odd in ("a", "b"):
        peers = swarm("ab", expected=2)
        other = "ab".replace(odd, "")
        peers.offer(odd, nan_state=True)
        peers.offer(other)
        assert [commit.contributors for commit in peers.commits(odd)] == [(other,)]
    peers = swarm("ab", expected=2)
    peers.offer("a", "b", nan_state=True)
    assert len(peers.commits("a")) == 1


def test_the_straggler_timeout_of_the_start_begins_anew_where_a_needed_peer_has_left(swarm) -> None:
    peers = swarm("abc", min_peers=3, expected=4, straggler_timeout=2.0)
    peers.offer("a", "b", "c")
    peers.wait(1.5)
    peers.crash("c")
    peers.wait(1.0)
    peers.add("c", incarnation="2")
    peers.offer("c")
    peers.wait(1.9)
    assert not peers.commits("a")
    peers.wait(0.2)
    assert peers.commits("a")


def test_where_the_start_may_be_alone_a_shorter_straggler_timeout_holds(swarm) -> None:
    peers = swarm("a", min_peers=1, seeks=True, straggler_timeout=3.0, failure_timeout=10.0)
    peers.offer("a")
    peers.wait(2.9)
    assert not peers.commits("a")
    peers.wait(0.2)
    assert peers.commits("a")


def test_the_weights_of_the_first_leader_in_order_are_taken_and_its_attempts_are_numbered(swarm) -> None:
    peers = swarm("abc", expected=3)
    peers.exchanging = False
    peers.offer("a", "b", "c")
    leader = leader_order("s", 0, "abc")[0]
    (proposal,) = peers.running()
    assert proposal.senders == (leader,)
    assert (proposal.attempt, proposal.voters) == (Attempt(0, leader), ("a", "b", "c"))
    member = next(name for name in "abc" if name != leader)
    peers.do(leader, peers.machines[leader].exchange_failed(proposal.key, member, "silence", peers.now))
    peers.deliver()
    peers.wait(3)
    (again,) = peers.running()
    assert again.attempt == Attempt(1, leader)
    assert again.lineage != proposal.lineage


def test_the_line_of_a_start_counts_those_that_were_never_met(swarm) -> None:
    peers = swarm("a", min_peers=3)
    peers.offer("a")
    peers.wait(29.9)
    assert not peers.said("a")
    peers.wait(0.2)
    assert peers.said("a") == "waiting to start with 2 more (never came), for 30 s at most"
    peers.add("b")
    peers.wait(30)
    assert peers.said("a").splitlines()[1:] == ["waiting to start with b, 1 more (never came), for 0 s at most"]


def test_a_result_that_an_aborted_attempt_gave_too_is_forgotten_with_its_own_attempt(swarm) -> None:
    """Two founding attempts of one leader give the same bytes."""
    peers = swarm("ab", expected=2)
    peers.drop = lambda sender, to, message: isinstance(message, Accepted)
    peers.offer("a", "b")
    first = next(message.proposal for _, _, message in peers.sent if isinstance(message, Propose))
    leader = first.attempt.leader
    (member,) = {*"ab"} - {leader}
    (digest,) = peers.machines[member].needed
    peers.tell(leader, member, Abort(*first.key, "a test"))
    peers.exchanging = False
    second, third = (another(first, number) for number in (8, 9))
    peers.tell(leader, member, Propose(second))
    peers.do(member, peers.machines[member].exchanged(second.key, digest, (), peers.now))
    assert peers.machines[member].needed == {digest}
    peers.tell(leader, member, Propose(third))
    assert not peers.machines[member].needed


def test_every_peer_votes_in_the_founding_round_and_a_restarted_one_not_in_the_next(swarm) -> None:
    peers = swarm("abc", expected=3)
    peers.offer("a", "b", "c")
    assert {message.votes for _, _, message in peers.sent if isinstance(message, Offer)} == {True}
    peers.crash("c")
    peers.add("c", incarnation="2")
    peers.offer("c")
    last = [message for sender, _, message in peers.sent if sender == "c" and isinstance(message, Offer)][-1]
    assert (last.stats.round, last.votes) == (1, False)


def test_before_the_founding_round_a_request_for_promises_is_ignored(swarm) -> None:
    peers = swarm("ab", expected=3)
    peers.offer("a", "b")
    for round_ in (-1, 0, 7):
        assert peers.machines["a"].receive("b", Prepare("", round_, Attempt(3, "b")), peers.now) == []


@pytest.mark.parametrize("moments", [True, False])
def test_the_source_of_the_first_weights_gives_its_optimizer_state_too(swarm, moments: bool) -> None:
    peers = swarm("abc", expected=3)
    peers.offer("a", "b", "c", moments=moments)
    (proposal,) = {message.proposal for _, _, message in peers.sent if isinstance(message, Propose)}
    assert proposal.moments == (proposal.senders if moments else ())

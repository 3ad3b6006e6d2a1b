"""Leaders and members that die, at every stage of a round."""

from __future__ import annotations

import pytest

from swarm.consensus.effects import Fetch, Heal, Skip, StartExchange
from swarm.consensus.paxos import leader_order
from swarm.messages import Abort, Accept, Accepted, Decide, Nack, Prepare, Promise, Propose
from swarm.records import Attempt


def results(peers) -> set:
    """Records of round 1, as the survivors have them."""
    return {commit for name in peers.machines for commit in peers.commits(name) if commit.round == 1}


def test_a_leader_that_dies_before_it_proposes_is_replaced(founded) -> None:
    peers = founded("a", "b", "c", "d")
    leader = peers.leader()
    peers.offer(*sorted({*"abcd"} - {leader}))
    peers.crash(leader)
    peers.wait(2)
    (commit,) = results(peers)
    assert set(commit.members) == set(peers.machines)


def test_a_silent_leader_is_replaced_too(founded) -> None:
    peers = founded("a", "b", "c")
    leader = peers.leader()
    peers.drop = lambda sender, to, message: sender == leader and isinstance(message, Propose)
    peers.offer("a", "b", "c")
    peers.wait(20)
    others = {*"abc"} - {leader}
    assert all(peers.commits(name)[-1].round == 1 for name in others)


def test_a_leader_that_dies_in_the_exchange_is_replaced(founded) -> None:
    peers = founded("a", "b", "c")
    leader = peers.leader()
    peers.exchanging = False
    peers.offer("a", "b", "c")
    peers.exchanging = True
    peers.crash(leader)
    peers.wait(3)
    (commit,) = results(peers)
    assert leader not in commit.group


def test_a_member_that_dies_in_the_exchange_costs_one_attempt(founded) -> None:
    peers = founded("a", "b", "c")
    leader = peers.leader()
    victim = next(name for name in "abc" if name != leader)
    peers.exchanging = False
    peers.offer("a", "b", "c")
    peers.exchanging = True
    peers.crash(victim)
    peers.wait(1)
    (commit,) = results(peers)
    assert victim not in commit.members
    assert f"{victim} is gone" in peers.said(leader)


@pytest.mark.parametrize("accepts", [1, 2, 3, 4])
def test_a_result_that_a_dead_leader_may_have_decided_is_finished(founded, accepts: int) -> None:
    peers = founded("a", "b", "c", "d", "e")
    leader = peers.leader()
    told: list[str] = []

    def drop(sender: str, to: str, message: object) -> bool:
        if isinstance(message, Accept) and to not in told:
            if len(told) == accepts:
                return True
            told.append(to)
        return sender == leader and isinstance(message, Decide)

    peers.drop = drop
    peers.offer(*"abcde")
    decided = [commit for commit in peers.commits(leader) if commit.round == 1]
    peers.drop = lambda sender, to, message: False
    peers.crash(leader)
    peers.wait(5)
    assert bool(decided) is (accepts >= 2)
    (commit,) = results(peers)
    assert leader in commit.group
    assert decided in ([], [commit])


def test_the_second_leader_asks_a_majority_before_it_forms_anew(founded) -> None:
    peers = founded("a", "b", "c", "d", "e")
    leader = peers.leader()
    peers.offer(*sorted({*"abcde"} - {leader}))
    peers.drop = lambda sender, to, message: isinstance(message, Promise)
    peers.crash(leader)
    peers.wait(5)
    assert not results(peers)
    peers.drop = lambda sender, to, message: False
    peers.wait(2)
    assert len(results(peers)) == 1


def test_a_voter_outside_the_group_fetches_what_it_is_asked_to_accept(founded) -> None:
    peers = founded("a", "b", "c", straggler_timeout=1.0)
    leader = peers.leader()
    member, straggler = sorted({*"abc"} - {leader})
    peers.offer(leader, member)
    peers.drop = lambda sender, to, message: sender == leader and isinstance(message, Decide)
    peers.wait(1.1)
    decided = peers.commits(leader)[-1]
    assert decided.group == tuple(sorted((leader, member)))
    peers.drop = lambda sender, to, message: False
    peers.crash(leader)
    peers.wait(5)
    assert peers.all(straggler, Fetch)
    assert peers.commits(member)[-1] == decided


def test_a_lower_attempt_is_nacked(founded) -> None:
    peers = founded("a", "b", "c")
    peers.exchanging = False
    peers.offer("a", "b", "c")
    (proposal,) = peers.running()
    member, other = sorted({*"abc"} - {proposal.attempt.leader})
    high = Attempt(7, other)
    peers.tell(other, member, peers.prepare(high, proposal.lineage))
    peers.sent.clear()
    peers.tell(proposal.attempt.leader, member, Accept(proposal, "digest"))
    peers.tell(proposal.attempt.leader, member, peers.prepare(proposal.attempt, proposal.lineage))
    nacks = [message for _, _, message in peers.sent if isinstance(message, Nack)]
    assert nacks
    assert {nack.promised for nack in nacks} == {high}


def test_a_leader_nacked_for_a_leader_that_is_gone_tries_a_higher_attempt_at_once(founded) -> None:
    peers = founded("a", "b", "c", "d")
    leader = peers.leader()
    gone, member, _ = sorted({*"abcd"} - {leader})
    machine = peers.machines[member]
    assert machine.commit is not None
    peers.tell(gone, member, peers.prepare(Attempt(9, gone), machine.commit.lineage))
    peers.crash(gone)
    peers.offer(*sorted(peers.machines))
    peers.wait(1)
    (commit,) = results(peers)
    assert set(commit.group) == set(peers.machines)


def test_a_member_accepts_only_what_it_holds(founded) -> None:
    peers = founded("a", "b", "c")
    peers.exchanging = False
    peers.offer("a", "b", "c")
    (proposal,) = peers.running()
    member = next(name for name in "abc" if name != proposal.attempt.leader)
    peers.sent.clear()
    peers.tell(proposal.attempt.leader, member, Accept(proposal, "never seen"))
    assert not [message for _, _, message in peers.sent if isinstance(message, Accepted)]


def test_a_restarted_process_does_not_vote_before_it_has_taken_part_in_a_round(founded) -> None:
    peers = founded("a", "b", "c")
    victim = next(name for name in "abc" if name != peers.leader())
    peers.crash(victim)
    peers.add(victim, incarnation="2")
    peers.offer(victim)
    machine = peers.machines[victim]
    assert machine.commit is not None
    assert not machine.votes
    peers.sent.clear()
    peers.tell(peers.leader(), victim, peers.prepare(Attempt(5, peers.leader()), machine.commit.lineage))
    assert not [message for sender, _, message in peers.sent if sender == victim and isinstance(message, Promise)]
    peers.offer(*sorted({*"abc"} - {victim}))
    assert peers.commits(victim)[-1].round == 1
    assert machine.votes


def test_a_process_that_does_not_vote_refuses_nobody_for_an_attempt_of_its_own(founded) -> None:
    peers = founded("a", "b", "c", min_peers=2)
    first = peers.leader()
    peers.crash(first)
    peers.add(first, incarnation="2")
    one, other = sorted({*"abc"} - {first})
    peers.offer(first, one)
    peers.wait(20)  # it takes its turns as leader, without a vote
    peers.sent.clear()
    peers.offer(other)
    assert not [message for _, _, message in peers.sent if isinstance(message, Nack)]
    assert {peers.commits(name)[-1].round for name in "abc"} == {1}


def test_where_too_many_have_restarted_those_present_begin_a_lineage(founded) -> None:
    peers = founded("a", "b", min_peers=2)
    before = peers.commits("a")[0]
    peers.crash("b")
    peers.add("b", incarnation="2")
    peers.offer("a", "b")
    assert len(peers.commits("a")) == 1
    peers.wait(12)
    commit = peers.commits("a")[-1]
    assert (commit.round, commit.members) == (1, ("a", "b"))
    assert commit.lineage != before.lineage
    assert "b restarted and cannot vote; 2 peers go on from round 0" in peers.said("a")
    assert peers.commits("b")[-1] == commit


def test_a_model_that_others_build_on_is_committed_under_the_decided_record(founded) -> None:
    peers = founded("a", "b", "c")
    leader = peers.leader()
    member = next(name for name in "abc" if name != leader)
    peers.drop = lambda sender, to, message: to == member and isinstance(message, Decide)
    peers.offer("a", "b", "c")
    assert len(peers.commits(member)) == 1
    peers.drop = lambda sender, to, message: False
    peers.offer(leader)
    assert peers.commits(member)[-1] == peers.commits(leader)[-1]


def test_a_capture_is_kept_while_it_may_be_in_a_decision(founded) -> None:
    peers = founded("a", "b", "c")
    leader = peers.leader()
    member, other = sorted({*"abc"} - {leader})
    peers.drop = lambda sender, to, message: member in (sender, to) and isinstance(message, Accept | Accepted | Decide)
    peers.offer("a", "b", "c")
    assert peers.commits(leader)[-1].round == 1
    machine = peers.machines[member]
    founding, decided = peers.commits(leader)[-2:]
    assert machine.may_contain(decided)
    assert not machine.may_contain(founding)
    peers.part((member,), (leader, other))
    peers.wait(12)
    assert peers.all(member, Skip)
    assert machine.pending
    peers.drop = lambda sender, to, message: False
    peers.meet(member, leader)
    assert peers.commits(member)[-1].round == 1
    assert not machine.pending


def test_one_failure_after_another_keeps_a_majority_each_time(founded) -> None:
    peers = founded("a", "b", "c", "d", min_peers=2)
    lineage = peers.commits("a")[0].lineage
    for left in ("abc", "ab"):
        peers.crash(next(iter(set(peers.machines) - {*left})))
        peers.offer(*left)
        peers.wait(5)
        commit = peers.commits("a")[-1]
        assert (commit.lineage, commit.members) == (lineage, tuple(left))


def test_proposals_and_exchanges_belong_together(founded) -> None:
    peers = founded("a", "b", "c")
    peers.offer("a", "b", "c")
    proposals = {message.proposal.key for _, _, message in peers.sent if isinstance(message, Propose)}
    assert {start.proposal.key for name in "abc" for start in peers.all(name, StartExchange)} == proposals


def test_a_result_that_a_later_leader_finds_may_contain_what_a_higher_attempt_had_replaced(founded) -> None:
    """The third attempt finds what the second, which asked others, did not: the first one had been accepted."""
    names = "abcdefg"
    peers = founded(*names)
    leader, second, *_, victim, keeper = leader_order("s", 1, names)

    def only_the_keeper_accepts(sender: str, to: str, message: object) -> bool:
        return isinstance(message, Decide) or (isinstance(message, Accept) and to not in (leader, keeper))

    peers.drop = only_the_keeper_accepts
    peers.offer(*names)
    peers.exchanging = False
    # The victim misses only that the second leader asks what was accepted, and joins its attempt.
    peers.drop = lambda sender, to, message: (
        (keeper in (sender, to) and sender != to) or (to == victim and isinstance(message, Prepare))
    )
    peers.crash(leader)
    peers.wait(3)
    replaced = next(proposal for proposal in peers.running() if proposal.attempt.leader == second)
    assert victim in replaced.group
    assert not peers.machines[victim].needed
    peers.drop = lambda sender, to, message: sender != to and victim in (sender, to) and not isinstance(message, Abort)
    peers.do(second, peers.machines[second].exchange_failed(replaced.key, keeper, "a test", peers.now))
    peers.deliver()
    peers.wait(5)
    decided = peers.commits(keeper)[-1]
    assert decided.contributors == tuple(names)
    assert peers.machines[victim].may_contain(decided)
    peers.drop = lambda sender, to, message: False
    peers.wait(20)
    assert [heal.commit for heal in peers.all(victim, Heal)] == [decided]

"""A leader, from its first message to its decision; the other peers are played by the tests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from swarm.consensus.effects import Apply, Effect, Notice, Send, StartExchange
from swarm.consensus.machine import RETRY, RoundMachine
from swarm.messages import (
    Abort,
    Accept,
    Accepted,
    Decide,
    Failed,
    Message,
    Nack,
    Offer,
    PartialNorm,
    Prepare,
    Promise,
    Proposal,
    Propose,
    Ready,
)
from swarm.records import Attempt, ContributionStats


class OneLeader:
    """The machine of the first leader of round 1, in a session of four; its offer is made."""

    def __init__(self, founded) -> None:
        peers = founded("a", "b", "c", "d", straggler_timeout=3.0, failure_timeout=10.0)
        self.me: str = peers.leader()
        self.machine: RoundMachine = peers.machines[self.me]
        self.others: list[str] = sorted({*"abcd"} - {self.me})
        self.now: float = peers.now
        self.effects: list[Effect] = []
        commit = self.machine.commit
        assert commit is not None
        self.commit = commit
        stats = ContributionStats(peer=self.me, round=1, weight=1)
        self.do(self.machine.offer(stats, self.now))

    def do(self, effects: list[Effect]) -> list[Effect]:
        self.effects += effects
        return effects

    def hears(self, sender: str, message: Message) -> list[Effect]:
        return self.do(self.machine.receive(sender, message, self.now))

    def wait(self, seconds: float) -> list[Effect]:
        """Time passes in one step."""
        self.now += seconds
        return self.do(self.machine.tick(self.now))

    def offers(self, names: Iterable[str], **stats: object) -> list[Effect]:
        effects = []
        for name in names:
            offered = ContributionStats(peer=name, round=1, weight=1, **stats)  # type: ignore[arg-type]
            effects += self.hears(name, Offer(self.commit.lineage, self.commit.digest, votes=True, stats=offered))
        return effects

    def proposal(self) -> Proposal:
        return [effect.proposal for effect in self.effects if isinstance(effect, StartExchange)][-1]

    def ready(self, names: Iterable[str], digest: str = "merged") -> list[Effect]:
        """These members have the model; the leader measures nothing unless named."""
        proposal, effects = self.proposal(), []
        norms = tuple(PartialNorm(peer, 0.0) for peer in proposal.senders)
        for name in names:
            if name == self.me:
                effects += self.do(self.machine.exchanged(proposal.key, digest, norms, self.now))
            else:
                effects += self.hears(name, Ready(*proposal.key, digest, norms))
        return effects


def sent(effects: list[Effect], kind: type[Message]) -> dict[str, Message]:
    """The messages of a kind, by receiver."""
    return {
        effect.to: effect.message for effect in effects if isinstance(effect, Send) and type(effect.message) is kind
    }


@pytest.fixture
def lead(founded) -> OneLeader:
    return OneLeader(founded)


# Forming -------------------------------------------------------------------------------------------------------------


def test_the_group_is_closed_when_all_have_offered(lead) -> None:
    assert not sent(lead.offers(lead.others[:2]), Propose)
    proposed = sent(lead.offers(lead.others[2:]), Propose)
    assert set(proposed) == set(lead.others)
    assert lead.proposal().group == ("a", "b", "c", "d")
    assert lead.proposal().voters == lead.commit.members


def test_the_straggler_timeout_counts_from_the_quorum(lead) -> None:
    lead.offers(lead.others[:1])
    lead.wait(5.0)
    lead.offers(lead.others[1:2])
    assert not sent(lead.wait(2.9), Propose)
    assert sent(lead.wait(0.2), Propose)
    assert set(lead.proposal().group) == {lead.me, *lead.others[:2]}


def test_a_contribution_that_is_left_out_is_a_warning(lead) -> None:
    lead.offers(lead.others[:1], finite=False)
    lead.offers(lead.others[1:])
    text = f"round 1: contribution of {lead.others[0]} left out: its tensors hold NaN or infinity"
    assert Notice(text, loud=True) in lead.effects


# Exchanging ----------------------------------------------------------------------------------------------------------


def test_the_proposal_is_retransmitted_until_all_are_ready(lead) -> None:
    lead.offers(lead.others)
    lead.wait(0.5 * RETRY)
    assert not sent(lead.wait(0.4 * RETRY), Propose)
    assert set(sent(lead.wait(0.2 * RETRY), Propose)) == set(lead.others)


def test_all_of_the_group_must_be_ready_before_it_is_asked_to_accept(lead) -> None:
    lead.offers(lead.others)
    assert not sent(lead.ready(lead.others), Accept)
    assert set(sent(lead.ready([lead.me]), Accept)) == set(lead.others)


def test_a_member_that_is_ready_may_leave_and_one_that_is_not_aborts_the_attempt(lead) -> None:
    gone, slow = lead.others[:2]
    lead.offers(lead.others)
    lead.ready([gone])
    assert not sent(lead.do(lead.machine.peer_down(gone, lead.now)), Abort)
    aborts = sent(lead.do(lead.machine.peer_down(slow, lead.now)), Abort)
    assert {abort.reason for abort in aborts.values()} == {f"{slow} is gone"}


def test_a_peer_outside_the_group_may_leave(lead) -> None:
    lead.offers(lead.others[:2])
    lead.wait(3.1)
    assert not sent(lead.do(lead.machine.peer_down(lead.others[2], lead.now)), Abort)


def test_a_failure_counts_from_members_and_aborts_because_of_the_blamed_one(lead) -> None:
    outsider = lead.others[2]
    lead.offers(lead.others[:2])
    lead.wait(3.1)
    proposal = lead.proposal()
    assert not sent(lead.hears(outsider, Failed(*proposal.key, lead.me, "a lie")), Abort)
    aborted = lead.hears(lead.others[0], Failed(*proposal.key, lead.others[1], "silence"))
    assert {abort.reason for abort in sent(aborted, Abort).values()} == {"silence"}
    assert Notice("round 1: attempt 0 aborted: silence", failed=True) in aborted


@pytest.mark.parametrize(("seconds", "left_out"), [(1.9, True), (2.1, False)])
def test_after_an_abort_a_higher_attempt_leaves_the_blamed_one_out_for_two_seconds(
    lead, seconds: float, left_out: bool
) -> None:
    blamed, *rest = lead.others
    lead.offers(lead.others)
    lineage = lead.commit.lineage
    prepared = sent(lead.hears(rest[0], Failed(*lead.proposal().key, blamed, "silence")), Prepare)
    assert set(prepared) == set(lead.others)
    attempt = Attempt(1, lead.me)
    assert set(prepared.values()) == {Prepare(lineage, 1, attempt)}
    lead.hears(rest[0], Promise(lineage, 1, attempt, None, ""))
    lead.wait(seconds)
    assert lead.proposal().attempt == Attempt(0, lead.me), "one promise and its own are no majority of four"
    lead.hears(rest[1], Promise(lineage, 1, attempt, None, ""))
    assert lead.proposal().attempt == attempt
    assert (blamed not in lead.proposal().group) is left_out


def test_members_with_other_bytes_are_named(lead) -> None:
    lead.offers(lead.others)
    lead.ready([lead.me, *lead.others[:2]])
    effects = lead.ready(lead.others[2:], digest="other")
    reason = f"{lead.others[2]} assembled other bytes than the rest"
    assert {abort.reason for abort in sent(effects, Abort).values()} == {reason}


# Preparing -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def preparing(lead) -> OneLeader:
    """Its first attempt was aborted; it asks for promises for the second one."""
    lead.offers(lead.others)
    lead.hears(lead.others[0], Failed(*lead.proposal().key, lead.me, "a test"))
    lead.effects.clear()
    return lead


def test_a_request_for_promises_is_retransmitted_to_those_who_have_not_answered(preparing) -> None:
    lead = preparing
    lead.hears(lead.others[0], Promise(lead.commit.lineage, 1, Attempt(1, lead.me), None, ""))
    assert set(sent(lead.wait(1.1 * RETRY), Prepare)) == set(lead.others[1:])


def test_what_was_accepted_under_the_highest_attempt_is_finished(preparing) -> None:
    lead = preparing
    attempt = Attempt(1, lead.me)
    lower = Proposal(
        lineage=lead.commit.lineage,
        round=1,
        attempt=Attempt(0, "a"),
        parent=lead.commit.digest,
        voters=lead.commit.members,
        members=lead.commit.members,
        entries=(),
        sync=lead.commit.sync,
        closing=False,
        weight=2,
    )
    higher = replace(lower, attempt=Attempt(0, "b"), weight=3)
    lead.hears(lead.others[0], Promise(lower.lineage, 1, attempt, higher, "higher"))
    effects = lead.hears(lead.others[1], Promise(lower.lineage, 1, attempt, lower, "lower"))
    asked = sent(effects, Accept)
    assert set(asked) == set(lead.others)
    assert set(asked.values()) == {Accept(replace(higher, attempt=attempt), "higher")}
    assert Notice("round 1: finishing an attempt whose leader failed") in effects


def test_a_promise_to_another_attempt_does_not_count(preparing) -> None:
    lead = preparing
    for name in lead.others:
        for lineage, round_, counter in ((lead.commit.lineage, 1, 0), (lead.commit.lineage, 2, 1), ("other", 1, 1)):
            lead.hears(name, Promise(lineage, round_, Attempt(counter, lead.me), None, ""))
    assert not [effect for effect in lead.effects if isinstance(effect, StartExchange)]


# Accepting -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def accepting(lead) -> OneLeader:
    """All of its group are ready, and asked to accept."""
    lead.offers(lead.others)
    lead.ready([lead.me, *lead.others])
    lead.effects.clear()
    return lead


def test_a_majority_of_the_voters_decides_and_all_are_told(accepting) -> None:
    lead, key = accepting, (accepting.commit.lineage, 1, Attempt(0, accepting.me))
    lead.hears(lead.others[0], Accepted(*key))
    lead.hears(lead.others[0], Accepted(*key))
    assert lead.machine.round == 1
    effects = lead.hears(lead.others[1], Accepted(*key))
    assert set(sent(effects, Decide)) == set(lead.others)
    (commit,) = [effect.commit for effect in effects if isinstance(effect, Apply)]
    assert (commit.round, commit.digest, commit.group) == (1, "merged", ("a", "b", "c", "d"))
    assert lead.machine.commit == commit


def test_a_request_to_accept_is_retransmitted_to_those_who_have_not_answered(accepting) -> None:
    lead, key = accepting, (accepting.commit.lineage, 1, Attempt(0, accepting.me))
    lead.hears(lead.others[0], Accepted(*key))
    assert set(sent(lead.wait(1.1 * RETRY), Accept)) == set(lead.others[1:])


def test_an_attempt_without_a_majority_in_reach_is_replaced_after_the_failure_timeout(accepting) -> None:
    lead = accepting
    for name in lead.others[:2]:
        lead.do(lead.machine.peer_down(name, lead.now))
    lead.wait(9.9)
    lead.do(lead.machine.peer_up(lead.others[0], None, lead.now))
    lead.do(lead.machine.peer_down(lead.others[0], lead.now))
    assert not sent(lead.wait(9.9), Prepare), "the time-out begins anew after a majority was there"
    (prepare,) = set(sent(lead.wait(0.2), Prepare).values())
    assert prepare.attempt == Attempt(1, lead.me)


def test_an_attempt_with_a_majority_in_reach_is_not_replaced(accepting) -> None:
    lead = accepting
    lead.do(lead.machine.peer_down(lead.others[0], lead.now))
    for _ in range(100):
        assert not sent(lead.wait(1.0), Prepare)


# Giving up -----------------------------------------------------------------------------------------------------------


def test_a_nack_of_a_live_leader_ends_the_attempt_and_one_of_a_lost_leader_makes_it_go_above(lead) -> None:
    lead.offers(lead.others)
    other, lost = lead.others[:2]
    lead.do(lead.machine.peer_down(lost, lead.now))
    attempt = Attempt(1, lead.me)
    high = Attempt(5, lost)
    prepared = sent(lead.hears(other, Nack(lead.commit.lineage, 1, attempt, high)), Prepare)
    assert {prepare.attempt for prepare in prepared.values()} == {Attempt(6, lead.me)}
    effects = lead.hears(other, Nack(lead.commit.lineage, 1, Attempt(6, lead.me), Attempt(9, other)))
    assert not sent(effects, Prepare)
    assert not sent(lead.wait(2 * RETRY), Prepare), "it does not lead any more"


def test_a_nack_of_another_attempt_is_ignored(lead) -> None:
    lead.hears(lead.others[0], Nack(lead.commit.lineage, 1, Attempt(3, lead.me), Attempt(5, lead.others[0])))
    assert sent(lead.offers(lead.others), Propose), "it still leads"


def test_a_promise_to_a_higher_attempt_ends_the_own_one(lead) -> None:
    lead.hears(lead.others[0], Prepare(lead.commit.lineage, 1, Attempt(5, lead.others[0])))
    assert not sent(lead.offers(lead.others), Propose)

"""Promises to an attempt: which ones a leader counts, and what a voter accepts after them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from swarm.certification.chain import conflict
from swarm.certification.keys import ProcessKey
from swarm.consensus.effects import Effect
from swarm.consensus.promises import carry
from swarm.messages import MOST_CARRIED, Accept, Accepted, Promise, Proposal, Propose, Readiness
from swarm.records import Attempt, Commit
from tests import signing

from .conftest import Peers
from .players import OneLeader, OneMember, sent

IGNORED = "sent a promise that it did not sign, or that cannot be; it is ignored"


# What a leader counts ------------------------------------------------------------------------------------------------


class Preparing:
    """A leader that asks for promises to its second attempt; it has its own, and two more of four decide."""

    def __init__(self, lead: OneLeader) -> None:
        self.lead, self.attempt = lead, Attempt(1, lead.me)
        self.one, self.other, self.third = lead.others

    def promise(self, name: str, before: Accept | None = None) -> Promise:
        return self.lead.peers.promise(name, self.lead.commit, self.attempt, before)

    def before(self, counter: int = 0, leader: str = "", digest: str = "before", **changes: Any) -> Accept:
        """What a voter may have accepted before: all of its group are ready with it."""
        proposal = self.proposal(counter, leader or self.lead.me, **changes)
        return self.lead.peers.asks(proposal, digest)

    def proposal(self, counter: int, leader: str, **changes: Any) -> Proposal:
        peers, commit = self.lead.peers, self.lead.commit
        offers = [peers.offer_of(peer, commit) for peer in "abcd"]
        promised = "abcd" if counter else ""
        return peers.proposal(Attempt(counter, leader), commit, *offers, promised=promised, **changes)

    def hears(self, sender: str, promise: Promise) -> list[Effect]:
        return self.lead.hears(sender, promise)

    @property
    def counted(self) -> bool:
        """Whether one promise more is enough, so that the last one has counted."""
        before = self.promise(self.other)
        effects = self.hears(self.other, before)
        return bool(sent(effects, Accept) or sent(effects, Propose))


@pytest.fixture
def asks(preparing: OneLeader) -> Preparing:
    return Preparing(preparing)


def test_a_promise_that_is_signed_counts(asks: Preparing) -> None:
    asks.hears(asks.one, asks.promise(asks.one))
    assert asks.counted


def test_a_promise_is_counted_once(asks: Preparing) -> None:
    for _ in range(3):
        effects = asks.hears(asks.one, asks.promise(asks.one))
        assert not sent(effects, Propose)
    assert asks.counted


def _unsigned(asks: Preparing) -> Promise:
    return replace(asks.promise(asks.one), signature="")


def _of_another_peer(asks: Preparing) -> Promise:
    return asks.promise(asks.third)


def _with_another_key(asks: Preparing) -> Promise:
    commit = asks.lead.commit
    return signing.promise("s", ProcessKey(), commit.lineage, 1, asks.attempt)


def _of_another_session(asks: Preparing) -> Promise:
    commit = asks.lead.commit
    return signing.promise("t", asks.lead.peers.signers[asks.one], commit.lineage, 1, asks.attempt)


def _to_another_attempt(asks: Preparing) -> Promise:
    signer, commit = asks.lead.peers.signers[asks.one], asks.lead.commit
    other = signing.promise("s", signer, commit.lineage, 1, Attempt(7, asks.lead.me))
    return replace(other, attempt=asks.attempt)


def _with_a_result_that_is_not_signed(asks: Preparing) -> Promise:
    before = asks.before()
    return replace(asks.promise(asks.one), accepted=before.proposal, digest=before.digest, ready=before.ready)


def _with_another_result_than_it_signed(asks: Preparing) -> Promise:
    return replace(asks.promise(asks.one, asks.before()), digest="another")


def _without_readiness(asks: Preparing) -> Promise:
    return asks.promise(asks.one, replace(asks.before(), ready=None))


def _with_the_readiness_of_some(asks: Preparing) -> Promise:
    before = asks.before()
    assert before.ready is not None
    half = len(before.ready.signatures) // 2
    few = replace(before.ready, signatures=before.ready.signatures[:half])
    return asks.promise(asks.one, replace(before, ready=few))


def _with_the_readiness_for_another_result(asks: Preparing) -> Promise:
    return asks.promise(asks.one, replace(asks.before(), ready=asks.before(digest="another").ready))


def _with_readiness_of_a_later_attempt(asks: Preparing) -> Promise:
    before, later = asks.before(), asks.before(7, "b")
    return asks.promise(asks.one, replace(before, ready=later.ready))


def _of_this_attempt(asks: Preparing) -> Promise:
    return asks.promise(asks.one, asks.before(1, asks.lead.me))


def _of_a_higher_attempt(asks: Preparing) -> Promise:
    return asks.promise(asks.one, asks.before(9, asks.one))


def _of_another_round(asks: Preparing) -> Promise:
    return asks.promise(asks.one, asks.before(round=2))


def _of_another_lineage(asks: Preparing) -> Promise:
    return asks.promise(asks.one, asks.before(lineage="another"))


def _of_a_proposal_that_its_leader_made_up(asks: Preparing) -> Promise:
    """Its group are made-up processes with the names of the members; these have signed all that is asked for."""
    peers, commit = asks.lead.peers, asks.lead.commit
    false = Peers((), expected=4)
    false.signers = {peer: ProcessKey() for peer in "abcd"}
    offers = [false.offer_of(peer, commit) for peer in "abcd"]
    made_up = false.proposal(Attempt(0, asks.lead.me), commit, *offers)
    return peers.promise(asks.one, commit, asks.attempt, false.asks(made_up, "before"))


def _of_a_proposal_that_lies(asks: Preparing) -> Promise:
    return asks.promise(asks.one, asks.before(settings="others"))


@pytest.mark.parametrize(
    "make",
    [
        _unsigned,
        _of_another_peer,
        _with_another_key,
        _of_another_session,
        _to_another_attempt,
        _with_a_result_that_is_not_signed,
        _with_another_result_than_it_signed,
        _without_readiness,
        _with_the_readiness_of_some,
        _with_the_readiness_for_another_result,
        _with_readiness_of_a_later_attempt,
        _of_this_attempt,
        _of_a_higher_attempt,
        _of_another_round,
        _of_another_lineage,
        _of_a_proposal_that_its_leader_made_up,
        _of_a_proposal_that_lies,
    ],
)
def test_a_promise_that_is_not_signed_or_cannot_be_is_ignored_with_a_warning(
    asks: Preparing, make: Callable[[Preparing], Promise]
) -> None:
    asks.hears(asks.one, make(asks))
    assert f"{asks.one} {IGNORED}" in asks.lead.said
    assert not asks.counted
    proposed = sent(asks.hears(asks.third, asks.promise(asks.third)), Propose)
    assert {each.proposal.attempt for each in proposed.values()} == {asks.attempt}, "the others go on without it"


def test_a_peer_that_is_no_member_gives_no_promise(asks: Preparing) -> None:
    peers = asks.lead.peers
    peers.add("n")
    asks.hears("n", asks.promise("n"))
    assert not asks.counted


# What a voter accepts after promises ---------------------------------------------------------------------------------


class Voter:
    """A member that has the model ``merged`` of attempt 5, and is asked to accept in attempt 7."""

    def __init__(self, member: OneMember) -> None:
        self.member, self.peers = member, member.peers
        member.joins(member.proposal)
        member.assembles(member.proposal, "merged")
        self.first = member.asks(member.proposal, "merged")

    def accepts(self, accept: Accept) -> bool:
        answers = self.member.answers(accept.proposal.attempt.leader, accept)
        return any(isinstance(answer, Accepted) for answer in answers)

    def finishes(self, promised: dict[str, Accept | None], accept: Accept | None = None) -> Accept:
        """What the leader of attempt 7 asks to accept, after these promises."""
        asked, attempt = accept or self.first, Attempt(7, "c")
        told = {peer: self.peers.promise(peer, self.commit, attempt, before) for peer, before in promised.items()}
        signed = tuple(signing.signed_promise(peer, each) for peer, each in told.items())
        return replace(asked, proposal=replace(asked.proposal, attempt=attempt, promises=signed))

    @property
    def commit(self) -> Commit:
        return self.member.commit


@pytest.fixture
def voter(member: OneMember) -> Voter:
    return Voter(member)


def test_what_the_promises_tell_of_is_accepted_in_a_higher_attempt(voter: Voter) -> None:
    assert voter.accepts(voter.finishes({"b": voter.first, "c": None}))


def test_what_nobody_has_accepted_is_accepted_in_its_own_attempt_only(voter: Voter) -> None:
    """Without an accept to finish, a higher attempt needs a group that is ready in it."""
    assert not voter.accepts(voter.finishes({"b": None, "c": None}))
    assert "the promises to its attempt do not allow it" in said(voter)
    assert voter.accepts(voter.first)


def said(voter: Voter) -> str:
    effects = voter.member.machine.receive("c", voter.finishes({"b": None, "c": None}), voter.member.now)
    return "\n".join(getattr(effect, "text", "") for effect in effects)


def test_another_result_than_the_promises_tell_of_is_not_accepted(voter: Voter) -> None:
    other = voter.member.asks(voter.member.proposal, "another")
    assert not voter.accepts(voter.finishes({"b": other, "c": None}))


def test_of_two_results_that_promises_tell_of_the_one_of_the_higher_attempt_is_accepted(voter: Voter) -> None:
    later = voter.member.asks(voter.member.proposed(6, "c"), "later")
    assert not voter.accepts(voter.finishes({"b": voter.first, "c": later}))
    assert voter.accepts(
        voter.finishes({"b": voter.member.asks(voter.member.proposed(2, "c"), "old"), "c": voter.first})
    )


# What is carried on again ---------------------------------------------------------------------------------------------


def carried(voter: Voter, attempt: Attempt, before: Accept) -> Accept:
    """What the leader of ``attempt`` asks to accept, whose promises tell of ``before``."""
    told = {peer: voter.peers.promise(peer, voter.commit, attempt, before) for peer in ("b", "c")}
    signed = tuple(signing.signed_promise(peer, each) for peer, each in told.items())
    assert before.ready is not None
    ready = carry(before.proposal, before.ready)
    return replace(before, proposal=replace(before.proposal, attempt=attempt, promises=signed), ready=ready)


def test_what_was_carried_on_is_carried_on_again(voter: Voter) -> None:
    asked = voter.first
    for counter in (7, 8, 9):
        asked = carried(voter, Attempt(counter, "c"), asked)
    assert asked.ready is not None
    assert [each.attempt.counter for each in asked.ready.carried] == [7, 8]
    assert voter.accepts(asked)


def test_a_result_is_carried_through_so_many_attempts_only(voter: Voter) -> None:
    asked = voter.first
    for counter in range(7, 8 + MOST_CARRIED):
        asked = carried(voter, Attempt(counter, "c"), asked)
    assert asked.ready is not None
    assert carry(asked.proposal, asked.ready) is None


def test_a_claim_to_have_accepted_in_an_attempt_that_never_was_does_not_count(voter: Voter) -> None:
    """The liar's true accept is of attempt 5; in attempt 6 others may have decided something else."""
    assert voter.first.ready is not None
    false = replace(voter.first, proposal=replace(voter.first.proposal, attempt=Attempt(6, "zz")))
    asked = voter.finishes({"b": None, "c": false}, voter.first)
    assert not voter.accepts(asked)
    assert not voter.accepts(replace(asked, ready=carry(false.proposal, voter.first.ready)))


def test_each_attempt_through_which_a_result_was_carried_has_promises_that_tell_of_it(voter: Voter) -> None:
    asked = carried(voter, Attempt(9, "c"), carried(voter, Attempt(7, "c"), voter.first))
    ready = asked.ready
    assert ready is not None
    (link,) = ready.carried
    silent = tuple(
        signing.signed_promise(peer, voter.peers.promise(peer, voter.commit, link.attempt)) for peer in ("b", "c")
    )
    for wrong in (
        (),
        (replace(link, promises=silent),),
        (replace(link, promises=link.promises[1:]),),
        (replace(link, attempt=Attempt(8, "c")),),
        (link, link),
    ):
        assert not voter.accepts(replace(asked, ready=replace(ready, carried=wrong)))
    assert voter.accepts(asked)


def test_a_leader_ignores_a_promise_that_tells_of_an_accept_in_an_attempt_that_never_was(asks: Preparing) -> None:
    true = asks.before()
    false = replace(true, proposal=replace(true.proposal, attempt=Attempt(0, "zz")))
    asks.hears(asks.one, asks.promise(asks.one, false))
    assert f"{asks.one} {IGNORED}" in asks.lead.said
    assert not asks.counted


@pytest.mark.parametrize("promised", ["", "b", "c"])
def test_fewer_promises_than_a_quorum_allow_nothing(voter: Voter, promised: str) -> None:
    assert not voter.accepts(voter.finishes(dict.fromkeys(promised, voter.first)))


def test_promises_of_others_than_members_do_not_count(voter: Voter) -> None:
    voter.peers.signers["x"] = ProcessKey()
    assert not voter.accepts(voter.finishes({"b": voter.first, "x": voter.first}))


def test_the_first_attempt_of_a_round_needs_no_promises(founded) -> None:
    peers = founded("a", "b", "c")
    peers.offer("a", "b", "c")
    asked = [message.proposal for _, _, message in peers.sent if isinstance(message, Accept)]
    last = [(proposal.attempt.counter, proposal.promises) for proposal in asked if proposal.round == 1]
    assert set(last) == {(0, ())}
    assert peers.commits("a")[-1].round == 1


def _no_readiness(voter: Voter) -> Accept:
    return replace(voter.first, ready=None)


def _readiness_of_some(voter: Voter) -> Accept:
    assert voter.first.ready is not None
    return replace(voter.first, ready=replace(voter.first.ready, signatures=voter.first.ready.signatures[2:]))


def _readiness_with_two_forged(voter: Voter) -> Accept:
    assert voter.first.ready is not None
    one, other, another = voter.first.ready.signatures
    forged = replace(one, value=other.value), replace(other, value=another.value)
    return replace(voter.first, ready=Readiness(voter.first.ready.attempt, (*forged, another)))


def _readiness_for_another_model(voter: Voter) -> Accept:
    return replace(voter.first, ready=voter.member.asks(voter.member.proposal, "another").ready)


def _readiness_of_another_attempt(voter: Voter) -> Accept:
    return replace(voter.first, ready=voter.member.asks(voter.member.proposed(4, "c"), "merged").ready)


@pytest.mark.parametrize(
    "make",
    [
        _no_readiness,
        _readiness_of_some,
        _readiness_with_two_forged,
        _readiness_for_another_model,
        _readiness_of_another_attempt,
    ],
)
def test_what_too_few_of_the_group_are_ready_with_is_not_accepted(
    voter: Voter, make: Callable[[Voter], Accept]
) -> None:
    assert not voter.accepts(make(voter))
    assert voter.accepts(voter.first)


def test_what_a_quorum_of_the_group_is_ready_with_may_be_accepted(voter: Voter) -> None:
    assert voter.first.ready is not None
    two = replace(voter.first.ready, signatures=voter.first.ready.signatures[1:])
    assert voter.accepts(replace(voter.first, ready=two))


def test_one_signature_counts_once(voter: Voter) -> None:
    assert voter.first.ready is not None
    one = voter.first.ready.signatures[0]
    assert not voter.accepts(replace(voter.first, ready=replace(voter.first.ready, signatures=(one, one, one))))


def test_a_voter_accepts_one_result_in_one_attempt(voter: Voter) -> None:
    """A leader asks it to accept another one, which the whole group has signed too: two results, with its signature."""
    assert voter.accepts(voter.first)
    other = voter.member.asks(voter.member.proposal, "another")
    voter.member.assembles(voter.member.proposal, "another")
    assert not voter.accepts(other)
    assert voter.accepts(voter.first), "the same one again"


def prove(voter: Voter, liar: str) -> None:
    """The voter learns that this member has signed two results."""
    commit, peers = voter.commit, voter.peers
    attempt = Attempt(0, commit.group[0])
    mine, other = (
        peers.certified(replace(commit, digest=digest, certificate=None), by=[liar], attempt=attempt)
        for digest in ("one", "other")
    )
    for proof in conflict(mine, other, None):
        voter.member.machine.prove(proof, voter.member.now)


def test_promises_of_members_that_are_removed_since_count_while_each_quorum_has_a_promise(founded) -> None:
    voter = Voter(OneMember(founded, "abcde"))
    asked = voter.finishes({"b": voter.first, "d": None, "e": None})
    prove(voter, "d")
    assert voter.accepts(asked)
    prove(voter, "e")
    assert not voter.accepts(asked), "of the other three, two could have decided without these promises"

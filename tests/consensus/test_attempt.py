"""A leader, from its first message to its decision; the other peers are played by the tests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarm.consensus.effects import Apply, Notice, StartExchange
from swarm.consensus.machine import RETRY
from swarm.consensus.paxos import MOST_ATTEMPTS
from swarm.consensus.strikes import FIRST
from swarm.messages import (
    Abort,
    Accept,
    Decide,
    Failed,
    Nack,
    PartialNorm,
    Prepare,
    Propose,
    Ready,
)
from swarm.records import Attempt
from tests import signing

from .players import sent

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


def unsigned(lead, name: str) -> Ready:
    """The member is ready, and has not signed it."""
    norms = tuple(PartialNorm(peer, 0.0) for peer in lead.proposal().senders)
    return replace(lead.peers.ready(name, lead.proposal(), "merged", norms), signature="0" * 128)


def test_who_does_not_sign_that_it_is_ready_is_named_and_costs_no_time(lead) -> None:
    lead.offers(lead.others)
    liar, *honest = lead.others
    lead.hears(liar, unsigned(lead, liar))
    assert Notice(f"{liar} did not sign that it is ready", loud=True, sender=liar) in lead.effects
    asked = sent(lead.ready([*honest, lead.me]), Accept)
    assert set(asked) == set(lead.others)
    assert {each.peer for each in asked[honest[0]].ready.signatures} == {*honest, lead.me}


def test_where_too_few_sign_that_they_are_ready_the_others_are_left_out(lead) -> None:
    lead.offers(lead.others)
    *liars, honest = lead.others
    effects = []
    for liar in liars:
        effects += lead.hears(liar, unsigned(lead, liar))
    effects += lead.ready([honest, lead.me])
    assert not sent(effects, Accept)
    assert sent(effects, Abort)[honest].reason == f"{', '.join(liars)} did not sign to be ready"


@pytest.mark.parametrize("signs", [True, False], ids=["signed", "unsigned"])
def test_who_is_ready_too_early_leaves_the_others_the_time_that_the_exchange_takes(lead, signs: bool) -> None:
    """It says so at once, whatever it has: no exchange is done so soon."""
    lead.offers(lead.others)
    liar, *honest = lead.others
    early = lead.peers.ready(liar, lead.proposal(), "f" * 32) if signs else unsigned(lead, liar)
    lead.hears(liar, early)
    assert not sent(lead.wait(60.0), Abort)
    lead.ready([lead.me])
    assert not sent(lead.wait(120.0 + 9.9), Abort)
    effects = lead.ready(honest)
    if signs:
        assert sent(effects, Abort)[honest[0]].reason == f"{liar} assembled other bytes than the rest"
        assert lead.machine.left_out == {liar}
    else:
        assert set(sent(effects, Accept)) == set(lead.others)


def test_who_was_ready_too_early_may_be_so_again(lead) -> None:
    lead.offers(lead.others)
    liar, *honest = lead.others
    lead.hears(liar, lead.peers.ready(liar, lead.proposal(), "f" * 32))
    asked = sent(lead.ready([liar, lead.me, *honest]), Accept)[honest[0]]
    assert set(asked.ready.signatures) <= {*lead.peers.asks(asked.proposal, "merged").ready.signatures}


def test_a_leader_that_is_slow_itself_is_waited_for(lead) -> None:
    """Its own exchange is judged by what arrives, and its term by the others."""
    lead.offers(lead.others)
    lead.ready(lead.others)
    assert not sent(lead.wait(90.0), Abort)
    assert set(sent(lead.ready([lead.me]), Accept)) == set(lead.others)


def test_who_is_not_ready_long_after_the_leader_is_left_out_as_is_who_did_not_sign(lead) -> None:
    lead.offers(lead.others)
    silent, liar, honest = lead.others
    lead.wait(5.0)
    lead.hears(liar, unsigned(lead, liar))
    lead.ready([lead.me, honest])
    assert not sent(lead.wait(2 * 5.0 + 9.9), Abort)
    assert sent(lead.wait(0.2), Abort)[honest].reason == f"{', '.join(sorted((silent, liar)))} did not become ready"
    assert lead.machine.left_out == {silent, liar}


def test_a_leader_outside_of_the_group_counts_from_when_a_quorum_of_it_has_signed(lead) -> None:
    """It has failed in the attempt before by itself, and leads the others."""
    lead.offers(lead.others)
    lead.do(lead.machine.exchange_failed(lead.proposal().key, lead.me, "a full disk", lead.now))
    for name in lead.others:
        lead.promises(name, 1)
    proposal = sent(lead.effects, Propose)[lead.others[0]].proposal
    assert set(proposal.group) == set(lead.others)
    first, second, silent = lead.others
    lead.hears(first, lead.peers.ready(first, proposal, "merged"))
    assert not sent(lead.wait(60.0), Abort)
    lead.hears(second, lead.peers.ready(second, proposal, "merged"))
    assert not sent(lead.wait(2 * 60.0 + 9.9), Abort)
    assert sent(lead.wait(0.2), Abort)[first].reason == f"{silent} did not become ready"


def test_what_a_member_has_signed_to_be_ready_with_is_replaced_by_nothing_that_it_has_not_signed(lead) -> None:
    """Else the leader would show a signature that others reject, and they would reject what it asks for."""
    lead.offers(lead.others)
    liar, *honest = lead.others
    lead.ready([liar])
    lead.hears(liar, unsigned(lead, liar))
    assert lead.said.endswith(f"{liar} did not sign that it is ready")
    asked = sent(lead.ready([lead.me, *honest]), Accept)[honest[0]]
    assert {each.peer for each in asked.ready.signatures} >= {liar, lead.me}
    assert set(asked.ready.signatures) <= {*lead.peers.asks(asked.proposal, "merged").ready.signatures}


def test_a_member_that_is_ready_may_leave_and_one_that_is_not_aborts_the_attempt(lead) -> None:
    gone, slow = lead.others[:2]
    lead.offers(lead.others)
    lead.ready([gone])
    assert not sent(lead.do(lead.machine.peer_down(gone, lead.now)), Abort)
    aborts = sent(lead.do(lead.machine.peer_down(slow, lead.now)), Abort)
    assert {abort.reason for abort in aborts.values()} == {f"{slow} is gone"}


@pytest.mark.parametrize("counter", [0, 2**31 - 1], ids=["no higher one", "one far too high"])
def test_a_nack_that_cannot_be_ends_no_attempt_and_names_its_sender(lead, counter: int) -> None:
    lead.offers(lead.others)
    liar = lead.others[0]
    effects = lead.hears(liar, Nack(*lead.proposal().key, Attempt(counter, "" if counter == 0 else liar)))
    text = f"{liar} answers an attempt with a promise to attempt {counter}, which cannot be; it is ignored"
    assert effects == [Notice(text, loud=True, sender=liar)]


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
    assert set(prepared.values()) == {lead.peers.prepare(attempt, lineage)}
    lead.promises(rest[0], 1)
    lead.wait(seconds)
    assert lead.proposal().attempt == Attempt(0, lead.me), "one promise and its own are no majority of four"
    lead.promises(rest[1], 1)
    assert lead.proposal().attempt == attempt
    assert (blamed not in lead.proposal().group) is left_out


def test_members_with_other_bytes_are_named(lead) -> None:
    lead.offers(lead.others)
    lead.ready([lead.me, *lead.others[:2]])
    effects = lead.ready(lead.others[2:], digest="other")
    reason = f"{lead.others[2]} assembled other bytes than the rest"
    assert {abort.reason for abort in sent(effects, Abort).values()} == {reason}


# Preparing -----------------------------------------------------------------------------------------------------------


def test_a_request_for_promises_is_retransmitted_to_those_who_have_not_answered(preparing) -> None:
    lead = preparing
    lead.promises(lead.others[0], 1)
    assert set(sent(lead.wait(1.1 * RETRY), Prepare)) == set(lead.others[1:])


def test_what_was_accepted_under_the_highest_attempt_is_finished(preparing) -> None:
    lead = preparing
    offers = [lead.peers.offer_of(peer, lead.commit) for peer in "abcd"]
    lower, higher = (
        lead.peers.asks(lead.peers.proposal(Attempt(0, leader), lead.commit, *offers, promised=promised), digest)
        for leader, digest, promised in ((lead.me, "lower", ""), ("z", "higher", "abcd"))
    )
    lead.promises(lead.others[0], 1, higher)
    waiting = lead.promises(lead.others[1], 1, lower)
    assert not sent(waiting, Accept), "with another one, those who have accepted nothing could be a quorum"
    effects = lead.promises(lead.others[2], 1, lower)
    asked = sent(effects, Accept)
    assert set(asked) == set(lead.others)
    (accept,) = set(asked.values())
    assert isinstance(accept, Accept)
    assert {each.peer for each in accept.proposal.promises} == {lead.me, *lead.others}
    again = replace(higher.proposal, attempt=Attempt(1, lead.me), promises=accept.proposal.promises)
    assert accept == replace(higher, proposal=again), "with what its group signed when it was ready"
    assert Notice("round 1: finishing an attempt whose leader failed") in effects


def test_a_promise_to_another_attempt_does_not_count(preparing) -> None:
    lead = preparing
    for name in lead.others:
        for lineage, round_, counter in ((lead.commit.lineage, 1, 0), (lead.commit.lineage, 2, 1), ("other", 1, 1)):
            signer, attempt = lead.peers.signers[name], Attempt(counter, lead.me)
            lead.hears(name, signing.promise("s", signer, lineage, round_, attempt))
    assert not [effect for effect in lead.effects if isinstance(effect, StartExchange)]


# Accepting -----------------------------------------------------------------------------------------------------------


def test_a_majority_of_the_voters_decides_and_all_are_told(accepting) -> None:
    lead = accepting
    lead.accepts(lead.others[0])
    lead.accepts(lead.others[0])
    assert lead.machine.round == 1
    effects = lead.accepts(lead.others[1])
    assert set(sent(effects, Decide)) == set(lead.others)
    (commit,) = [effect.commit for effect in effects if isinstance(effect, Apply)]
    assert (commit.round, commit.digest, commit.group) == (1, "merged", ("a", "b", "c", "d"))
    assert lead.machine.commit == commit
    assert commit.certificate is not None
    assert {each.peer for each in commit.certificate.signatures} == {lead.me, *lead.others[:2]}


def test_a_request_to_accept_is_retransmitted_to_those_who_have_not_answered(accepting) -> None:
    lead = accepting
    lead.accepts(lead.others[0])
    assert set(sent(lead.wait(1.1 * RETRY), Accept)) == set(lead.others[1:])


def test_an_attempt_without_a_majority_in_reach_is_replaced_after_the_failure_timeout(accepting) -> None:
    lead = accepting
    for name in lead.others[:2]:
        lead.do(lead.machine.peer_down(name, lead.now))
    assert not sent(lead.wait(9.9), Prepare)
    (prepare,) = set(sent(lead.wait(0.2), Prepare).values())
    assert prepare.attempt == Attempt(1, lead.me)
    assert "did not accept" not in lead.said, "those who are gone are not at fault"


def test_an_attempt_that_too_few_accept_in_time_is_replaced_too_and_they_are_named(accepting) -> None:
    lead = accepting
    lead.accepts(lead.others[0])
    assert not sent(lead.wait(9.9), Prepare)
    (prepare,) = set(sent(lead.wait(0.2), Prepare).values())
    assert prepare.attempt == Attempt(1, lead.me), "only a higher attempt may find out whether it was accepted"
    one, other = lead.others[1:]
    assert f"round 1: {one}, {other} did not accept in time" in lead.said


# Giving up -----------------------------------------------------------------------------------------------------------


def test_nacks_for_a_live_leader_end_the_attempt_and_those_for_a_lost_leader_make_it_go_above(lead) -> None:
    lead.offers(lead.others)
    one, other, lost = lead.others
    lead.do(lead.machine.peer_down(lost, lead.now))
    low = Nack(lead.commit.lineage, 1, Attempt(1, lead.me), Attempt(5, lost))
    assert not sent(lead.hears(one, low), Prepare), "without one of four there may still be a majority"
    prepared = sent(lead.hears(other, low), Prepare)
    assert {prepare.attempt for prepare in prepared.values()} == {Attempt(6, lead.me)}
    high = Nack(lead.commit.lineage, 1, Attempt(6, lead.me), Attempt(9, other))
    effects = lead.hears(one, high) + lead.hears(other, high)
    assert not sent(effects, Prepare)
    assert not sent(lead.wait(2 * RETRY), Prepare), "it does not lead any more"


def test_a_nack_of_one_member_of_the_group_ends_the_exchange_and_a_second_one_leaves_that_member_out(lead) -> None:
    lead.offers(lead.others)
    one, *others = lead.others
    for counter, group in ((6, {lead.me, one, *others}), (10, {lead.me, *others})):
        told = sent(lead.hears(one, Nack(*lead.proposal().key, Attempt(counter - 1, one))), Abort)
        assert {abort.reason for abort in told.values()} == {f"{one} follows a higher attempt"}
        lead.wait(RETRY)
        for other in others:
            lead.promises(other, counter=counter)
        assert lead.proposal().attempt == Attempt(counter, lead.me), "it still leads"
        assert set(lead.proposal().group) == group


def goes_on(lead, counter: int, promising: list[str], *, after: float = RETRY) -> set[str]:
    """The group of the next attempt of the leader, for which these peers promise so many seconds later."""
    lead.wait(after)
    for name in promising:
        lead.promises(name, counter=counter)
    assert lead.proposal().attempt == Attempt(counter, lead.me), "it still leads"
    return set(lead.proposal().group)


def shows_who_asked(lead, counter: int, victim: str, liar: str) -> None:
    """The victim follows the liar, who has asked it for promises to the attempt below this one."""
    asked = lead.peers.prepare(Attempt(counter - 1, liar), lead.commit.lineage)
    told = sent(lead.hears(victim, Nack(*lead.proposal().key, asked.attempt, asked.signature)), Abort)
    assert {abort.reason for abort in told.values()} == {f"{victim} follows a higher attempt"}


def test_a_member_that_shows_who_asks_it_for_promises_is_not_at_fault_and_who_asks_again_is(lead) -> None:
    lead.offers(lead.others)
    victim, liar, other = lead.others
    shows_who_asked(lead, 2, victim, liar)
    assert goes_on(lead, 2, [victim, other]) == {lead.me, *lead.others}, "two may lead at once, and nobody lies"
    shows_who_asked(lead, 4, victim, liar)
    assert goes_on(lead, 4, [victim, other]) == {lead.me, victim, other}


@pytest.mark.parametrize("openly", [False, True])
def test_who_asks_another_member_for_promises_and_not_the_leader_is_left_out(lead, openly: bool) -> None:
    """It leads no attempt: that member alone could not decide it. Who really leads asks all."""
    lead.offers(lead.others)
    victim, liar, other = lead.others
    shows_who_asked(lead, 2, victim, liar)
    if openly:
        lead.hears(liar, lead.peers.prepare(Attempt(1, liar), lead.commit.lineage))
    goes_on(lead, 2, [victim, other])
    lead.ready([lead.me, *lead.others])
    lead.accepts(victim)
    lead.accepts(other)
    assert lead.machine.round == 2
    text = f"round 1: {liar} has asked {victim} for promises, and not {lead.me}"
    assert (Notice(text, loud=True, sender=liar) in lead.effects) is not openly
    assert lead.machine.left_out == (set() if openly else {liar})


def test_only_who_asks_for_promises_has_strikes_for_it(lead) -> None:
    lead.offers(lead.others)
    victim, liar, other = lead.others
    for counter in (2, 4, 6, 8):
        shows_who_asked(lead, counter, victim, liar)
        goes_on(lead, counter, [victim, other], after=FIRST + 0.1)
    assert lead.machine.left_out == {liar}


@pytest.mark.parametrize("forged", ["", "another attempt", "the sender's"])
def test_nobody_is_at_fault_for_promises_that_it_cannot_be_shown_to_have_asked_for(lead, forged: str) -> None:
    lead.offers(lead.others)
    liar, victim, other = lead.others
    for counter in (2, 4):
        promised = Attempt(counter - 1, victim)
        signatures = {
            "": "",
            "another attempt": lead.peers.prepare(Attempt(9, victim), lead.commit.lineage).signature,
            "the sender's": lead.peers.prepare(Attempt(counter - 1, liar), lead.commit.lineage).signature,
        }
        lead.hears(liar, Nack(*lead.proposal().key, promised, signatures[forged]))
        group = goes_on(lead, counter, [victim, other])
    assert group == {lead.me, victim, other}
    assert lead.machine.left_out == {liar}


def test_one_peer_that_tells_of_a_high_attempt_does_not_end_what_a_majority_may_accept(accepting) -> None:
    lead = accepting
    liar = lead.others[0]
    lead.hears(liar, Nack(*lead.proposal().key, Attempt(MOST_ATTEMPTS // 2, liar)))
    lead.accepts(lead.others[1])
    assert lead.machine.round == 1
    lead.accepts(lead.others[2])
    assert lead.machine.round == 2


def test_a_nack_of_another_attempt_is_ignored(lead) -> None:
    lead.hears(lead.others[0], Nack(lead.commit.lineage, 1, Attempt(3, lead.me), Attempt(5, lead.others[0])))
    assert sent(lead.offers(lead.others), Propose), "it still leads"


def test_a_promise_to_a_higher_attempt_ends_the_own_one(lead) -> None:
    lead.hears(lead.others[0], lead.peers.prepare(Attempt(5, lead.others[0]), lead.commit.lineage))
    assert not sent(lead.offers(lead.others), Propose)

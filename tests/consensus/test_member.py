"""A member of attempts that others lead: what it joins, promises, accepts, fetches and keeps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarm.certification.statements import record_hash
from swarm.consensus.effects import Fetch, Notice, Send, StartExchange, StopExchange
from swarm.consensus.promises import signed_promise
from swarm.messages import (
    Abort,
    Decide,
    Entry,
    Failed,
    Nack,
    Prepare,
    Propose,
)
from swarm.records import Attempt, PeerStatus

from .players import OneMember

TRAINING, EXTENDED, INACTIVE, SNAPSHOT, ACTIVE = PeerStatus


# Joining -------------------------------------------------------------------------------------------------------------


def test_a_proposal_is_joined_and_its_repetition_answered_with_what_was_said_before(member) -> None:
    assert StartExchange(member.proposal) in member.joins(member.proposal)
    assert member.machine.pending
    assert member.joins(member.proposal) == []
    member.assembles(member.proposal, "merged")
    assert member.answers("b", Propose(member.proposal)) == [member.peers.ready("a", member.proposal, "merged")]


def test_a_failure_is_repeated_too_and_forgotten_in_the_next_attempt(member) -> None:
    member.joins(member.proposal)
    member.machine.exchange_failed(member.proposal.key, "c", "silence", member.now)
    assert member.answers("b", Propose(member.proposal)) == [Failed(*member.proposal.key, "c", "silence")]
    later = member.proposed(7, "c")
    member.joins(later)
    assert member.answers("c", Propose(later)) == []


def test_a_higher_attempt_replaces_the_one_that_was_joined(member) -> None:
    member.joins(member.proposal)
    later = member.proposed(7, "c")
    assert member.joins(later) == [StopExchange(member.proposal.key), StartExchange(later)]


def test_a_proposal_below_a_promise_gets_a_nack(member) -> None:
    high = Attempt(9, "c")
    member.hears("c", member.prepare(high))
    assert member.answers("b", Propose(member.proposal)) == [
        Nack(*member.proposal.key, high, member.prepare(high).signature)
    ]


def test_results_of_attempts_that_are_not_running_are_ignored(member) -> None:
    member.joins(member.proposal)
    stale = member.proposed(4, "c")
    assert member.assembles(stale, "stale") == []
    assert member.machine.exchange_failed(stale.key, "c", "stale", member.now) == []
    assert not member.machine.needed


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"round": 2}, "a is at round 1 of lineage"),
        ({"parent": "elsewhere"}, "a is at round 1 of lineage"),
        ({"lineage": "other"}, "a still reaches a majority"),
        ({"entries": tuple(Entry(peer, 0, TRAINING) for peer in "abc")}, "nobody is to send a model"),
    ],
)
def test_a_proposal_that_cannot_be_joined_is_refused_with_the_reason(member, change: dict, reason: str) -> None:
    odd = replace(member.proposal, **change)
    (failed,) = member.answers("b", Propose(odd))
    assert isinstance(failed, Failed)
    assert (failed.attempt, failed.blamed) == (odd.attempt, "a")
    assert failed.reason.startswith(reason)
    assert not member.machine.pending


def test_a_proposal_with_an_offer_that_was_replaced_since_is_refused(member) -> None:
    (failed,) = member.answers("b", Propose(member.proposed(5, "b", member.of("a", delta_norm=3.0))))
    assert failed == Failed(*member.proposal.key, "a", "a has offered other weights since")
    assert not member.machine.pending


@pytest.mark.parametrize(
    ("weight", "others", "entry"),
    [(0, 1, Entry("a", 0, TRAINING)), (0, 0, Entry("a", 1, ACTIVE))],
    ids=["receives only", "sends the last model"],
)
def test_the_offer_of_a_peer_that_does_not_send_it_is_not_compared(
    member, weight: int, others: int, entry: Entry
) -> None:
    member.offer(weight=weight, delta_norm=3.0)
    offers = member.of("a", weight=weight), member.of("b", weight=others), member.of("c", weight=others)
    proposal = member.proposed(5, "b", *offers)
    assert proposal.entries[0] == entry
    assert StartExchange(proposal) in member.joins(proposal)


def test_a_proposal_to_others_is_ignored(member) -> None:
    assert member.joins(member.proposed(group="bc")) == []


def test_an_attempt_that_was_left_is_refused_until_the_next_round(member) -> None:
    member.joins(member.proposal)
    member.hears("b", Abort(*member.proposal.key, "a test"))
    (failed,) = member.answers("b", Propose(member.proposal))
    assert failed.reason == "a has left this attempt"


def test_the_log_names_who_gives_up_an_attempt_and_whom_it_blames(member) -> None:
    member.joins(member.proposal)
    effects = member.hears("c", Failed(*member.proposal.key, "b", "it is at fault"))
    assert Notice("round 1: c gives up an attempt and blames b: it is at fault", loud=True, sender="c") in effects


# Promising -----------------------------------------------------------------------------------------------------------


def test_a_promise_leaves_the_attempt_below_it_and_keeps_its_result(member) -> None:
    member.joins(member.proposal)
    member.assembles(member.proposal, "merged")
    high = Attempt(9, "c")
    effects = member.hears("c", member.prepare(high))
    assert StopExchange(member.proposal.key) in effects
    assert Send("c", member.promise(high)) in effects
    assert member.machine.needed == {"merged"}
    again = member.proposed(9, "c")
    assert member.joins(again) == [StartExchange(again)]


def test_who_has_left_an_attempt_for_a_promise_shows_its_leader_who_has_asked_for_that(member) -> None:
    """It blames not itself: it has to promise."""
    member.joins(member.proposal)
    asked = member.prepare(Attempt(9, "c"))
    member.hears("c", asked)
    answer = Nack(*member.proposal.key, asked.attempt, asked.signature)
    assert member.answers("b", Propose(member.proposal)) == [answer]


@pytest.mark.parametrize("signature", ["", "0" * 128])
def test_no_promise_is_given_to_who_does_not_sign_that_it_asks_for_one(member, signature: str) -> None:
    member.joins(member.proposal)
    effects = member.hears("c", replace(member.prepare(Attempt(9, "c")), signature=signature))
    assert effects == [
        Notice("c asks for promises to attempt 9, which c did not sign; it is ignored", loud=True, sender="c")
    ]


def test_a_promise_to_the_leader_of_the_attempt_itself_does_not_leave_it(member) -> None:
    member.joins(member.proposal)
    effects = member.hears("b", member.prepare(member.proposal.attempt))
    assert effects == [Send("b", member.promise(member.proposal.attempt))]


def test_the_log_names_who_asks_for_promises_to_an_attempt_that_is_far_too_high(member) -> None:
    effects = member.hears("c", member.prepare(Attempt(2**31 - 1, "c")))
    text = "c asks for promises to attempt 2147483647, far too high; it is ignored"
    assert Notice(text, loud=True, sender="c") in effects
    assert not any(isinstance(effect, Notice) for effect in member.hears("c", member.prepare(Attempt(0, "c"))))


@pytest.mark.parametrize("aborts", [False, True])
def test_the_log_names_who_speaks_for_another_leader(member, aborts: bool) -> None:
    member.joins(member.proposal)
    asks = replace(member.prepare(Attempt(7, "c")), attempt=Attempt(7, "b"))
    effects = member.hears("c", Abort(*member.proposal.key, "no") if aborts else asks)
    text = "aborts an attempt that b leads" if aborts else "asks for promises to attempt 7, which b did not sign"
    assert effects == [Notice(f"c {text}; it is ignored", loud=True, sender="c")]


def test_the_leader_that_is_followed_passes_on_who_leads_now_and_no_other_peer_does(member) -> None:
    member.joins(member.proposal)
    asks = member.prepare(Attempt(9, "c"))
    assert member.hears("a", asks) == []
    assert Send("c", member.promise(asks.attempt)) in member.hears("b", asks)
    assert member.hears("b", asks) == [], "it follows the other one already"


def test_a_promise_tells_what_was_accepted(member) -> None:
    member.joins(member.proposal)
    member.assembles(member.proposal, "merged")
    accept = member.asks(member.proposal, "merged")
    member.hears("b", accept)
    high = Attempt(9, "c")
    assert member.answers("c", member.prepare(high)) == [member.promise(high, accept)]


def test_a_leader_of_an_earlier_round_is_told_the_commit_and_others_nothing(member) -> None:
    lineage, attempt = member.commit.lineage, Attempt(9, "b")
    assert member.answers("b", Prepare(lineage, 0, attempt)) == [Decide(member.commit)]
    assert member.answers("b", Prepare(lineage, 2, attempt)) == []
    assert member.answers("b", Prepare("other", 0, attempt)) == []
    assert member.answers("b", Prepare("other", 1, attempt)) == []


# Accepting -----------------------------------------------------------------------------------------------------------


def test_what_is_held_is_accepted_again_under_a_higher_attempt(member) -> None:
    member.joins(member.proposal)
    member.assembles(member.proposal, "merged")
    first = member.asks(member.proposal, "merged")
    assert member.answers("b", first) == [member.accepted(member.proposal, "merged")]
    high = Attempt(7, "c")
    told = {peer: member.peers.promise(peer, member.commit, high, first) for peer in "ab"}
    promises = tuple(signed_promise(peer, each) for peer, each in told.items())
    later = replace(member.proposal, attempt=high, promises=promises)
    assert member.answers("c", replace(first, proposal=later)) == [member.accepted(later, "merged")]
    assert member.answers("b", first) == [Nack(*member.proposal.key, high)]


def test_an_accepted_model_stays_needed_when_its_attempt_is_replaced_and_another_one_does_not(member) -> None:
    member.joins(member.proposal)
    member.assembles(member.proposal, "first")
    member.hears("b", member.asks(member.proposal, "first"))
    later = member.proposed(7, "c")
    member.joins(later)
    assert member.machine.needed == {"first"}
    member.assembles(later, "second")
    assert member.machine.needed == {"first", "second"}
    member.joins(member.proposed(9, "c"))
    assert member.machine.needed == {"first"}


def test_an_abort_counts_from_the_leader_only_and_forgets_the_result(member) -> None:
    member.joins(member.proposal)
    member.assembles(member.proposal, "merged")
    assert member.exposed
    assert not member.machine.may_contain(member.commit), "a commit of an earlier round cannot contain it"
    (notice,) = member.hears("c", Abort(*member.proposal.key, "a lie"))
    assert isinstance(notice, Notice)
    assert member.exposed
    assert member.machine.needed == {"merged"}
    member.hears("b", Abort(*member.proposal.key, "a test"))
    assert not member.exposed
    assert not member.machine.needed
    assert not member.machine.pending


def test_an_abort_of_what_the_leader_had_accepted_is_ignored_and_named(member) -> None:
    member.joins(member.proposal)
    member.assembles(member.proposal, "merged")
    member.hears("b", member.asks(member.proposal, "merged"))
    (notice,) = member.hears("b", Abort(*member.proposal.key, "a lie"))
    assert isinstance(notice, Notice)
    assert (notice.loud, notice.sender) == (True, "b")
    assert "b aborts an attempt that it has asked to accept" in notice.text
    assert member.exposed, "others may have accepted it too: the capture must be kept"
    assert member.machine.needed == {"merged"}


def test_where_members_may_lie_an_aborted_attempt_may_still_have_the_capture(founded) -> None:
    of_four = OneMember(founded, "abcd", tolerated_liars=1)
    of_four.joins(of_four.proposal)
    of_four.assembles(of_four.proposal, "merged")
    of_four.hears("b", Abort(*of_four.proposal.key, "a test"))
    assert of_four.exposed, "the leader may ask the others to accept it all the same"
    assert not of_four.machine.needed


def test_what_a_ready_member_offered_may_be_in_its_round_if_it_contributed_and_in_every_later_one(member) -> None:
    member.joins(member.proposal)
    member.assembles(member.proposal, "merged")
    this, other = replace(member.commit, round=1, contributors=("a", "b")), replace(member.commit, round=1)
    assert member.machine.may_contain(this)
    assert not member.machine.may_contain(replace(other, contributors=("b",)))
    assert not member.machine.may_contain(replace(this, lineage="other"))
    assert not member.machine.may_contain(replace(this, round=0))
    assert member.machine.may_contain(replace(other, round=2, lineage="other", contributors=()))


def test_an_abort_of_another_attempt_changes_nothing(member) -> None:
    member.joins(member.proposal)
    member.assembles(member.proposal, "merged")
    assert member.hears("b", Abort(member.commit.lineage, 1, Attempt(4, "b"), "an old one")) == []
    assert member.exposed
    assert member.machine.needed == {"merged"}


def test_a_peer_that_contributed_nothing_is_not_exposed(member) -> None:
    member.offer(INACTIVE)
    proposal = member.proposed(5, "b", member.of("a", status=INACTIVE))
    member.joins(proposal)
    member.assembles(proposal, "merged")
    assert not member.exposed


def test_a_higher_attempt_does_not_end_the_exposure_to_lower_ones(member) -> None:
    """A still later leader may find that the lower one was accepted."""
    member.joins(member.proposal)
    member.assembles(member.proposal, "merged")
    member.joins(member.proposed(7, "c"))
    assert not member.machine.needed
    assert member.exposed


# Fetching ------------------------------------------------------------------------------------------------------------


def test_a_model_that_a_leader_asks_twice_to_accept_is_fetched_from_its_live_group_once(member) -> None:
    ask = member.asks(member.proposal, "unknown")
    assert member.hears("b", ask) == []
    assert member.hears("b", ask) == [Fetch("unknown", ("b", "c"))]
    assert member.hears("b", ask) == []
    member.machine.fetched("unknown", member.now, success=False)
    assert not member.machine.needed
    member.machine.peer_down("c", member.now)
    assert Fetch("unknown", ("b",)) in member.hears("b", ask)
    member.machine.fetched("unknown", member.now, success=True)
    assert member.machine.needed == {"unknown"}
    assert member.answers("b", ask) == [member.accepted(member.proposal, "unknown")]


def test_a_model_that_was_fetched_for_an_earlier_round_is_not_needed(member) -> None:
    ask = member.asks(member.proposal, "stale")
    member.hears("b", ask)
    member.hears("b", ask)
    member.machine.healed(replace(member.commit, round=1, digest="new"), member.now)
    member.machine.fetched("stale", member.now, success=True)
    assert not member.machine.needed
    member.hears("b", ask)
    assert member.hears("b", ask) == [], "nor is it fetched for a round that is over"


def test_a_model_of_an_earlier_round_does_not_count_as_asked_for_once(member) -> None:
    """Of weights that do not change, the models of two rounds have one digest."""
    member.hears("b", member.asks(member.proposal, "unknown"))
    later = member.commit = replace(member.commit, round=1, previous=record_hash(member.commit))
    member.machine.healed(later, member.now)
    member.offer()
    ask = member.asks(member.proposed(), "unknown")
    assert not [effect for effect in member.hears("b", ask) if isinstance(effect, Fetch)]
    assert Fetch("unknown", ("b", "c")) in member.hears("b", ask)


def test_what_nobody_asked_for_is_not_needed(member) -> None:
    member.machine.fetched("unasked", member.now, success=True)
    assert not member.machine.needed


def test_a_process_that_may_not_vote_fetches_and_accepts_nothing(founded) -> None:
    peers = founded("a", "b", "c")
    victim = next(name for name in "abc" if name != peers.leader())
    peers.crash(victim)
    peers.add(victim, incarnation="2")
    peers.offer(victim)
    machine, leader = peers.machines[victim], peers.leader()
    peers.exchanging = False
    peers.offer(*sorted({*"abc"} - {victim}))
    (proposal,) = peers.running()
    assert proposal.attempt.leader == leader
    assert not machine.votes
    for _ in range(3):
        assert machine.receive(leader, peers.asks(proposal, "unknown"), peers.now) == []
    machine.exchanged(proposal.key, "merged", peers.norms(proposal), peers.now)
    assert machine.receive(leader, peers.asks(proposal, "merged"), peers.now) == []


def test_a_model_is_not_fetched_where_no_member_of_its_group_is_live(member) -> None:
    ask = member.asks(member.proposed(group="ac"), "unknown")
    member.machine.peer_down("c", member.now)
    for _ in range(3):
        assert not [effect for effect in member.hears("b", ask) if isinstance(effect, Fetch)]

"""What members check of a proposal: a leader that lies about one field finds nobody who takes part or accepts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any

import pytest

from swarm.certification.keys import ProcessKey
from swarm.consensus.effects import Effect, Notice, Send, StartExchange
from swarm.messages import Accepted, Entry, Envelope, Failed, Proposal, Propose
from swarm.records import (
    Attempt,
    Best,
    Credential,
    Origin,
    PeerStatus,
    Proof,
    RecordKind,
    Refusal,
    SyncState,
)
from swarm.sync import FixedInterval
from swarm.transport.grpc.wire import decode, encode
from tests import signing

from .players import OneMember

TRAINING, EXTENDED, INACTIVE, SNAPSHOT, ACTIVE = PeerStatus
Lie = Callable[[OneMember, Proposal], Proposal]


def fixed(**changes: Any) -> Lie:
    """A lie that sets fields to values."""
    return lambda member, proposal: replace(proposal, **changes)


def entry(**changes: Any) -> Lie:
    """A lie about the last member of the group."""
    return lambda member, proposal: replace(
        proposal, entries=(*proposal.entries[:-1], replace(proposal.entries[-1], **changes))
    )


def with_stranger(member: OneMember, proposal: Proposal) -> Proposal:
    key = ProcessKey().key
    return replace(
        proposal,
        members=(*proposal.members, "x"),
        keys=(*proposal.keys, key),
        credentials=(Credential("x", key),),
    )


def without_offer(member: OneMember, proposal: Proposal) -> Proposal:
    member.peers.signers["x"] = ProcessKey()
    return replace(proposal, entries=(*proposal.entries, Entry("x", 1, TRAINING)))


def with_key_of_another(member: OneMember, proposal: Proposal) -> Proposal:
    """A member whose key is replaced, with a credential."""
    key = ProcessKey().key
    return replace(proposal, keys=(*proposal.keys[:-1], key), credentials=(Credential("c", key),))


def without_last_member(member: OneMember, proposal: Proposal) -> Proposal:
    return replace(proposal, members=proposal.members[:-1], keys=proposal.keys[:-1])


def last_offer(**changes: Any) -> Lie:
    """The last offer is another one, which its peer has not signed."""
    return lambda member, proposal: replace(
        proposal, offers=(*proposal.offers[:-1], replace(proposal.offers[-1], **changes))
    )


def last_stats(**changes: Any) -> Lie:
    """Another contribution than its peer has signed, and all that follows from it."""

    def lie(member: OneMember, proposal: Proposal) -> Proposal:
        *rest, last = proposal.offers
        changed = replace(last, stats=replace(last.stats, **changes))
        made = member.peers.proposal(proposal.attempt, member.commit, *rest, changed, promised="bc")
        assert made.offers[-1].signature == last.signature
        return made

    return lie


def signed_by_leader(member: OneMember, proposal: Proposal) -> Proposal:
    """An offer in the name of another member, signed with the key of the leader."""
    *rest, last = proposal.offers
    forged = signing.signed_offer("s", member.peers.signers["b"], replace(last, stats=replace(last.stats, steps=9)))
    return member.peers.proposal(proposal.attempt, member.commit, *rest, forged, promised="bc")


def of_another_round(member: OneMember, proposal: Proposal) -> Proposal:
    later = replace(member.commit, round=member.commit.round + 1)
    return replace(proposal, offers=(*proposal.offers[:-1], member.peers.offer_of("c", later)))


def promises(*names: str, counter: int = 5, leader: str = "b") -> Lie:
    """Those of these peers, maybe to another attempt."""

    def lie(member: OneMember, proposal: Proposal) -> Proposal:
        other = member.proposed(counter, leader)
        made = member.peers.proposal(other.attempt, member.commit, *proposal.offers, promised=names)
        return replace(proposal, promises=made.promises)

    return lie


def forged_promises(member: OneMember, proposal: Proposal) -> Proposal:
    one, other = proposal.promises
    return replace(proposal, promises=(one, replace(other, value=one.value)))


def promises_that_tell_of_a_result(member: OneMember, proposal: Proposal) -> Proposal:
    """A voter has accepted another result before: only that one may be finished."""
    before = member.asks(member.proposed(2, "c"), "before")
    told = {peer: member.peers.promise(peer, member.commit, proposal.attempt, before) for peer in "bc"}
    return replace(proposal, promises=tuple(signing.signed_promise(peer, each) for peer, each in told.items()))


PROOF = Proof("c", "00" * 32, "line", 1, Attempt(0, "a"), "one", "s1", Attempt(0, "a"), "two", None, "s2")
LIES: dict[str, dict[str, Lie]] = {
    "lineage": {"another": fixed(lineage="another"), "as a fork": fixed(lineage="another", kind=RecordKind.FORK)},
    "round": {"later": fixed(round=2), "earlier": fixed(round=0)},
    "parent": {"another": fixed(parent="another")},
    "previous": {"another": fixed(previous="another"), "none": fixed(previous="")},
    "kind": {kind: fixed(kind=kind) for kind in RecordKind if kind is not RecordKind.ROUND},
    "voters": {"fewer": fixed(voters=("a", "b")), "more": fixed(voters=("a", "b", "c", "x")), "none": fixed(voters=())},
    "members": {"one fewer": without_last_member, "one more": with_stranger, "none": fixed(members=(), keys=())},
    "keys": {
        "swapped": lambda member, proposal: replace(proposal, keys=proposal.keys[::-1]),
        "another": lambda member, proposal: replace(proposal, keys=(*proposal.keys[:-1], "00" * 32)),
        "another with a credential": with_key_of_another,
        "none": fixed(keys=()),
        "empty": fixed(keys=("", "", "")),
    },
    "credentials": {
        "of a known key": lambda member, proposal: replace(proposal, credentials=(member.peers.credential("c"),)),
        "of nobody": fixed(credentials=(Credential("x", "00" * 32),)),
    },
    "entries": {
        "a larger weight": entry(weight=2),
        "left out in silence": entry(weight=0),
        "another status": entry(status=EXTENDED),
        "another norm": entry(norm=3.0),
        "another residual": entry(residual=3.0),
        "other steps": entry(steps=7),
        "optimizer state": entry(moments=True),
        "another order": lambda member, proposal: replace(proposal, entries=proposal.entries[::-1]),
        "one missing": lambda member, proposal: replace(proposal, entries=proposal.entries[:-1]),
        "one twice": lambda member, proposal: replace(proposal, entries=(*proposal.entries, proposal.entries[-1])),
        "one without an offer": without_offer,
    },
    "sync": {"longer": fixed(sync=SyncState(2**31 - 1)), "a signal": fixed(sync=SyncState(8, 0.5))},
    "closing": {"true": fixed(closing=True)},
    "done": {"true": fixed(done=True)},
    "best": {"one that nobody found": fixed(best=Best(0, "a", 0.5)), "a stop": fixed(best=Best(0, "a", 0.5, 9, True))},
    "stop": {"that nobody asked for": fixed(stop=True), "denied": fixed(stop=False)},
    "codec": {"another": fixed(codec="int8"), "none": fixed(codec="")},
    "rule": {"another": fixed(rule="coordmedian")},
    "settings": {"others": fixed(settings="others")},
    "refused": {
        "one that contributes": fixed(refused=(Refusal("c", "a lie"),)),
        "a stranger": fixed(refused=(Refusal("x", "a lie"),)),
    },
    "proofs": {"a forged one": fixed(proofs=(PROOF,)), "of a stranger": fixed(proofs=(replace(PROOF, peer="x"),))},
    "origins": {
        "none": fixed(origins=()),
        "one more": lambda member, proposal: replace(
            proposal, origins=(*proposal.origins, Origin("another", 1, majority=True))
        ),
    },
    "offers": {
        "none": fixed(offers=()),
        "one missing": lambda member, proposal: replace(proposal, offers=proposal.offers[:-1]),
        "one twice": lambda member, proposal: replace(proposal, offers=(*proposal.offers, proposal.offers[-1])),
        "another order": lambda member, proposal: replace(proposal, offers=proposal.offers[::-1]),
        "not signed": last_offer(signature=""),
        "signed by the leader": signed_by_leader,
        "another key": last_offer(key="00" * 32),
        "other members gone": last_offer(gone=("a",)),
        "of another round": of_another_round,
        "a larger weight": last_stats(weight=100),
        "a smaller weight": last_stats(weight=0),
        "a signal": last_stats(signal=0.5),
        "not finite": last_stats(finite=False),
        "finished": last_stats(status=SNAPSHOT, steps=4),
    },
    "promises": {
        "none": fixed(promises=()),
        "of one": promises("b"),
        "of one twice": promises("b", "b"),
        "to another attempt": promises("b", "c", counter=4),
        "to another leader": promises("b", "c", leader="c"),
        "forged": forged_promises,
        "of peers that have accepted": promises_that_tell_of_a_result,
    },
}
ELSEWHERE = {
    "attempt": "its leader sends it, and has promises for it",
    "protocol": "a member refuses one that it does not speak",
}
CASES = [pytest.param(lie, id=f"{field}: {name}") for field, lies in LIES.items() for name, lie in lies.items()]


def test_every_field_of_a_proposal_is_lied_about() -> None:
    assert LIES.keys() | ELSEWHERE.keys() == {field.name for field in fields(Proposal)}


def test_an_honest_proposal_is_joined_and_accepted(member: OneMember) -> None:
    assert StartExchange(member.proposal) in member.joins(member.proposal)
    member.assembles(member.proposal, "merged")
    assert member.answers("b", member.asks(member.proposal, "merged")) == [member.accepted(member.proposal, "merged")]


@pytest.mark.parametrize("lie", CASES)
def test_nobody_takes_part_in_what_a_leader_that_lies_proposes(member: OneMember, lie: Lie) -> None:
    assert not [each for each in member.joins(lie(member, member.proposal)) if isinstance(each, StartExchange)]
    assert not member.machine.pending


@pytest.mark.parametrize("lie", CASES)
def test_nobody_accepts_what_a_leader_that_lies_proposes(member: OneMember, lie: Lie) -> None:
    """Not even one that holds the model, or was not in the group."""
    member.joins(member.proposal)
    member.assembles(member.proposal, "merged")
    asked = member.asks(lie(member, member.proposal), "merged")
    assert not [answer for answer in member.answers("b", asked) if isinstance(answer, Accepted)]


def test_who_rejects_a_proposal_tells_the_whole_group_and_the_log_why(member: OneMember) -> None:
    lie = replace(member.proposal, sync=SyncState(9))
    reason = "a does not accept the proposal of b: its sync is not what the offers give"
    failed = Failed(*lie.key, "b", reason, rejects=True)
    effects = member.joins(lie)
    sent = [effect for effect in effects if isinstance(effect, Send)]
    assert [effect for effect in sent if isinstance(effect.message, Failed)] == [Send("b", failed), Send("c", failed)]
    assert Notice(f"round 1: {reason}", loud=True, sender="b") in effects


def failures(effects: list[Effect]) -> list[Failed]:
    return [each.message for each in effects if isinstance(each, Send) and isinstance(each.message, Failed)]


@pytest.fixture
def overclaimed(member: OneMember) -> Proposal:
    """Of a leader to which ``c`` has declared more weight than it has to ``a``."""
    member.machine.peer_up("c", None, member.now, weight=1)
    return member.proposed(5, "b", member.of("c", weight=100))


def test_who_has_declared_other_weights_to_others_is_blamed_and_not_the_leader(
    member: OneMember, overclaimed: Proposal
) -> None:
    effects = member.joins(overclaimed)
    reason = "c claims weight 100 and has joined with 1 here"
    assert failures(effects) == [Failed(*overclaimed.key, "c", reason)] * 2
    assert Notice(f"round 1: {reason}", loud=True, sender="c") in effects
    assert "c" in member.machine.left_out
    assert "b" not in member.machine.left_out


def test_a_leader_that_lies_beside_that_is_blamed(member: OneMember, overclaimed: Proposal) -> None:
    lie = replace(overclaimed, sync=SyncState(9))
    assert {(failed.blamed, failed.rejects) for failed in failures(member.joins(lie))} == {("b", True)}
    unsigned = replace(overclaimed.offers[-1], signature="0" * 128)
    forged = replace(overclaimed, offers=(*overclaimed.offers[:-1], unsigned))
    assert {(failed.blamed, failed.rejects) for failed in failures(member.joins(forged))} == {("b", True)}


def test_a_leader_that_claims_more_weight_itself_is_blamed(member: OneMember, overclaimed: Proposal) -> None:
    own = member.proposed(5, "c", *overclaimed.offers)
    assert {(failed.blamed, failed.rejects) for failed in failures(member.joins(own))} == {("c", False)}


def test_a_process_that_this_peer_has_not_met_is_not_blamed_for_its_weight(
    member: OneMember, overclaimed: Proposal
) -> None:
    member.machine.peer_up("c", None, member.now, weight=1, credential=Credential("c", "00" * 32))
    assert {(failed.blamed, failed.rejects) for failed in failures(member.joins(overclaimed))} == {("b", True)}


def test_a_leader_chooses_among_the_codecs_that_were_agreed_on(founded) -> None:
    member = OneMember(partial(founded, codecs=frozenset({"exact", "int8"})))
    proposal = replace(member.proposal, codec="int8")
    assert StartExchange(proposal) in member.joins(proposal)


# What a leader may decide --------------------------------------------------------------------------------------------


def left_out(proposal: Proposal, *peers: str) -> Proposal:
    """The leader leaves contributions out, and says so."""
    entries = [replace(each, weight=0, norm=0.0) if each.peer in peers else each for each in proposal.entries]
    if not any(each.weight for each in entries):
        entries[0] = replace(entries[0], weight=1, status=ACTIVE)
    refused = tuple(Refusal(peer, "what a plugin says") for peer in sorted(peers))
    return replace(proposal, entries=tuple(entries), refused=refused)


@pytest.mark.parametrize(
    ("peers", "joined"),
    [("c", True), ("b", True), ("bc", True), ("ac", False), ("abc", True)],
    ids=["another one", "itself", "itself and another one", "the two others", "everybody"],
)
def test_a_leader_may_leave_out_itself_and_less_than_half_of_the_contributions(
    member: OneMember, peers: str, joined: bool
) -> None:
    """Where it leaves out everybody the last model stands."""
    proposal = left_out(member.proposal, *peers)
    assert (StartExchange(proposal) in member.joins(proposal)) is joined


def test_a_contribution_that_a_member_would_leave_out_too_does_not_count(founded) -> None:
    """Such as one that a plugin at every peer rejects."""
    strict = OneMember(lambda *names: founded(*names, refusal=lambda stats: "odd" if stats.peer != "b" else None))
    proposal = left_out(strict.proposal, "a", "c")
    assert StartExchange(proposal) in strict.joins(proposal)


def test_a_leader_may_give_its_own_reason_for_what_the_offers_rule_out_too(founded) -> None:
    """A plugin at the leader rejects what has also moved absurdly far."""
    peers = founded("a", "b", "c", "d", refusal=lambda stats: "too far" if stats.delta_norm > 100 else None)
    peers.offer("a", "b", "c", delta_norm=1.0)
    peers.offer("d", delta_norm=1e6)
    commit = peers.commits("a")[-1]
    assert (commit.round, commit.contributors) == (1, ("a", "b", "c"))
    assert commit.refused == (Refusal("d", "too far"),)


def test_a_weight_above_what_its_peer_joined_with_does_not_enter(member: OneMember) -> None:
    greedy = member.proposed(5, "b", member.of("c", weight=100))
    assert [each.weight for each in greedy.entries] == [1, 1, 100], "the leader knows no better"
    member.joins(greedy)
    assert not member.machine.pending
    reason = "it claims weight 100 and joined with 1"
    fair = replace(
        greedy,
        entries=(*greedy.entries[:-1], replace(greedy.entries[-1], weight=0)),
        refused=(Refusal("c", reason),),
    )
    assert StartExchange(fair) in member.joins(fair)


def travelled(proposal: Proposal) -> Proposal:
    """The proposal as it arrives over a network."""
    sent = Envelope("s", "b", "b1", "x:1", Propose(proposal))
    arrived = decode(Envelope, encode(sent)).message
    assert isinstance(arrived, Propose)
    return arrived.proposal


@pytest.mark.parametrize("signal", [None, 0.5, -0.0, math.inf])
def test_whatever_signal_a_member_has_its_offer_comes_back_as_it_was(member: OneMember, signal: float | None) -> None:
    member.offer(signal=signal)
    proposal = travelled(member.proposed(5, "b", member.of("a", signal=signal)))
    member.joins(proposal)
    assert member.machine.pending


def test_an_interval_may_follow_from_a_loss_that_is_no_number(founded) -> None:
    class Follows(FixedInterval):
        def next(self, state: SyncState, losses: Sequence[tuple[int, float]]) -> SyncState:
            return SyncState(state.interval + sum(math.isinf(loss) for _, loss in losses))

    member = OneMember(lambda *names: founded(*names, policy=Follows(8)))
    member.offer(signal=math.inf)
    member.joins(travelled(member.proposed(5, "b", member.of("a", signal=math.inf))))
    assert member.machine.pending


# Newcomers -----------------------------------------------------------------------------------------------------------


def test_a_newcomer_brings_the_credential_of_its_key(member: OneMember) -> None:
    member.peers.add("n", alone=True)
    proposal = member.proposed(5, "b", member.of("n"))
    assert [each.peer for each in proposal.credentials] == ["n"]
    member.joins(replace(proposal, credentials=()))
    assert not member.machine.pending
    assert StartExchange(proposal) in member.joins(proposal), "also one that this peer has not met"


def test_a_newcomer_with_a_key_that_is_not_its_own_is_rejected(founded) -> None:
    def vouch(given: Credential, current: bool) -> str:
        return "it is signed by somebody else" if given.peer == "n" and current else ""

    member = OneMember(lambda *names: founded(*names, vouch=vouch))
    member.peers.add("n", alone=True)
    proposal = member.proposed(5, "b", member.of("n"))
    answers = member.answers("b", Propose(proposal))
    assert isinstance(answers[0], Failed)
    assert answers[0].reason.endswith("the key of n is not its own")


def test_a_process_that_this_peer_has_met_needs_no_second_check(founded) -> None:
    def vouch(given: Credential, current: bool) -> str:
        return "not asked for" if given.peer == "n" else ""

    member = OneMember(lambda *names: founded(*names, vouch=vouch))
    member.peers.add("n")
    proposal = member.proposed(5, "b", member.of("n"))
    assert StartExchange(proposal) in member.joins(proposal)


# Groups that may decide ----------------------------------------------------------------------------------------------


def test_a_group_without_a_quorum_of_the_membership_is_rejected(founded) -> None:
    """Else a leader could merge with whom it likes, as the others only have to accept."""
    peers = founded(*"abcde", min_peers=2)
    outsider = peers.machines["a"]
    commit = outsider.commit
    few = peers.proposal(Attempt(5, "b"), commit, *(peers.offer_of(name, commit) for name in "bc"), promised="bcd")
    many = peers.proposal(Attempt(6, "b"), commit, *(peers.offer_of(name, commit) for name in "bcd"), promised="bcd")
    for proposal, fetches in ((few, 0), (many, 1)):
        ask = peers.asks(proposal, "merged")
        for _ in range(2):
            peers.tell("b", "a", ask)
        asked = [effect for effect in peers.effects["a"] if type(effect).__name__ == "Fetch"]
        assert len(asked) == fetches
    assert "its group is no quorum" in peers.said("a")


def test_a_group_smaller_than_min_peers_is_rejected(founded) -> None:
    peers = founded("a", "b", "c", min_peers=3)
    commit = peers.machines["a"].commit
    peers.drop = lambda sender, to, message: True
    peers.offer("a")
    few = peers.proposal(Attempt(5, "b"), commit, *(peers.offer_of(name, commit) for name in "ab"), promised="bc")
    peers.drop = lambda sender, to, message: False
    peers.tell("b", "a", Propose(few))
    assert not peers.machines["a"].pending

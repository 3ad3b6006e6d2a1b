"""A member that has signed two results of one round: it is named, told to all, and removed."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from swarm.certification.chain import conflict
from swarm.certification.statements import record_hash
from swarm.consensus.effects import Proven, Send
from swarm.messages import MOST_CARRIED, Accept, Accepted, Decide, Evidence, Offer, Prepare, Promise, Propose
from swarm.records import Attempt, Commit, ContributionStats, Proof
from tests import signing

from .conftest import Peers

TEXT = "has signed two results of round 1: it is removed"


@pytest.fixture
def peers(founded) -> Peers:
    """Five peers after the first round."""
    made = founded(*"abcde")
    made.offer(*"abcde")
    return made


def two_results(peers: Peers, *liars: str) -> tuple[Commit, Commit]:
    """The record of round 1 and another one, both signed by ``liars``."""
    commit = peers.commits("a")[-1]
    assert commit.certificate is not None
    attempt = commit.certificate.attempt
    mine = peers.certified(replace(commit, certificate=None), attempt=attempt)
    other = peers.certified(replace(commit, digest="another", certificate=None), by=liars, attempt=attempt)
    return mine, other


def proof_of(peers: Peers, liar: str) -> Proof:
    mine, other = two_results(peers, liar)
    (proof,) = conflict(mine, other, peers.commits("a")[-2])
    return proof


def test_a_proof_is_told_to_all_and_its_peer_is_left_out(peers: Peers) -> None:
    proof = proof_of(peers, "e")
    peers.do("a", peers.machines["a"].prove(proof, peers.now))
    peers.deliver()
    for name in "abcd":
        assert peers.all(name, Proven) == [Proven(proof)]
        assert peers.machines[name].left_out == {"e"}
        assert f"e {TEXT}" in peers.said(name)


def test_the_next_round_goes_on_without_it(peers: Peers) -> None:
    proof = proof_of(peers, "e")
    peers.do("a", peers.machines["a"].prove(proof, peers.now))
    peers.deliver()
    peers.offer(*"abcde")
    peers.wait(15.0)
    before, commit = peers.commits("a")[-2:]
    assert (commit.round, commit.group, commit.members) == (2, tuple("abcd"), tuple("abcd"))
    assert commit.proofs == (proof,)
    assert peers.rules.verifier.doubt(commit, before) == ""
    proposed = [message.proposal for _, _, message in peers.sent if isinstance(message, Propose)][-1]
    assert proposed.voters == tuple("abcd")
    peers.offer(*"abcde")
    assert (peers.commits("a")[-1].round, peers.commits("a")[-1].proofs) == (3, ()), "it is no member any more"
    assert peers.machines["a"].left_out == {"e"}


def test_a_leader_that_waits_for_the_promise_of_a_removed_member_goes_on_without_it(founded) -> None:
    pair = founded("a", "b", min_peers=1, failure_timeout=5.0, wait_below_quorum=True)
    pair.offer("a", "b")
    proof = proof_of(pair, "b")
    pair.drop = lambda sender, to, message: sender == "b" and not isinstance(message, Offer)
    pair.offer("a", "b")
    pair.wait(30.0)
    asked = [
        message for sender, to, message in pair.sent if (sender, to) == ("a", "b") and isinstance(message, Prepare)
    ]
    assert asked, "a leads an attempt that b does not answer"
    assert pair.machines["a"].round == 2
    pair.do("a", pair.machines["a"].prove(proof, pair.now))
    pair.deliver()
    pair.wait(5.0)
    assert pair.commits("a")[-1].round == 2
    assert pair.commits("a")[-1].group == ("a",)


def test_a_leader_that_is_bound_to_what_only_a_removed_member_could_decide_ends_its_attempts(founded) -> None:
    """Its promise alone is enough for each next attempt, and so it would begin the next one at once, without end."""
    pair = founded("a", "b", min_peers=1, failure_timeout=5.0, wait_below_quorum=True)
    pair.offer("a", "b")
    proof = proof_of(pair, "b")
    leads = (Accepted, Accept, Decide, Propose, Prepare)
    pair.drop = lambda sender, to, message: sender == "b" and isinstance(message, leads)
    pair.offer("a", "b")
    pair.wait(20.0)
    asked = [message for sender, _, message in pair.sent if sender == "a" and isinstance(message, Accept)]
    assert asked[-1].proposal.voters == ("a", "b")
    pair.do("a", pair.machines["a"].prove(proof, pair.now))
    pair.deliver()
    pair.wait(5.0 * (MOST_CARRIED + 1))
    text = f"round 2: its result was accepted in {MOST_CARRIED + 1} attempts and decided in none"
    assert pair.said("a").count(text) == 1
    pair.wait(100.0)
    assert pair.said("a").count(text) == 1
    assert pair.machines["a"].round == 2


def test_a_proof_is_told_once(peers: Peers) -> None:
    proof = proof_of(peers, "e")
    for _ in range(3):
        peers.tell("b", "a", Evidence(proof))
    assert len(peers.all("a", Proven)) == 1
    assert len([each for each in peers.sent if each[:2] == ("a", "b") and isinstance(each[2], Evidence)]) == 1


@pytest.mark.parametrize("change", [{"other_record": "made up"}, {"peer": "d"}, {"key": "00" * 32}, {"round": 2}])
def test_what_proves_nothing_leaves_nobody_out(peers: Peers, change: dict) -> None:
    peers.tell("b", "a", Evidence(replace(proof_of(peers, "e"), **change)))
    assert not peers.all("a", Proven)
    assert not peers.machines["a"].left_out


def test_who_accuses_without_proof_is_named(peers: Peers) -> None:
    peers.tell("b", "a", Evidence(replace(proof_of(peers, "e"), other_record="made up")))
    assert "b accuses e of two results, which proves nothing" in peers.said("a")


def test_two_records_of_one_round_prove_who_has_signed_both(peers: Peers) -> None:
    certificate = peers.commits("a")[-1].certificate
    assert certificate is not None
    liar = next(each.peer for each in certificate.signatures if each.peer != "a")
    honest = next(name for name in "bcde" if name not in {each.peer for each in certificate.signatures})
    _, other = two_results(peers, liar, honest)
    peers.tell(liar, "a", Decide(other))
    assert [effect.proof.peer for effect in peers.all("a", Proven)] == [liar], "the other one has signed one of them"


def test_a_record_without_a_certificate_proves_nothing(peers: Peers) -> None:
    _, other = two_results(peers, "d", "e")
    peers.tell("e", "a", Decide(replace(other, certificate=None)))
    peers.tell("e", "a", Decide(replace(other, digest="a third one")))
    assert not peers.all("a", Proven)


def test_a_promise_that_hides_an_accept_proves_it_too(peers: Peers) -> None:
    commit, before = peers.commits("a")[-1], peers.commits("a")[-2]
    mine = peers.certified(replace(commit, certificate=None), attempt=Attempt(0, "a"))
    attempt = Attempt(1, "b")
    promises = tuple(signing.signed_promise(peer, peers.promise(peer, before, attempt)) for peer in "cde")
    other = peers.certified(
        replace(commit, digest="another", certificate=None), by=("e",), attempt=attempt, promises=promises
    )
    proofs = conflict(mine, other, before)
    assert {proof.peer for proof in proofs} == {"c", "d", "e"}
    peers.do("a", peers.machines["a"].prove(proofs[0], peers.now))
    assert peers.machines["a"].left_out == {"c"}


def test_what_two_attempts_may_give_an_honest_voter_is_no_proof(peers: Peers) -> None:
    commit = peers.commits("a")[-1]
    _, other = two_results(peers, "e")
    later = peers.certified(replace(other, certificate=None), by=("e",), attempt=Attempt(9, "b"))
    peers.tell("e", "a", Decide(later))
    assert not peers.all("a", Proven)
    assert record_hash(commit) != record_hash(later)


def test_a_peer_that_goes_over_to_another_record_promises_nothing_against_its_votes(
    founded,
) -> None:
    # What it accepted in the next round after the first record is no statement about the round after the other one.
    peers = founded(*"abc")
    peers.drop = lambda *_: True
    before = peers.commits("a")[-1]
    told = replace(
        peers.proposal(Attempt(0, "c"), before, *(peers.offer_of(name, before) for name in "abc")).commit("m"),
        certificate=None,
    )
    mine = peers.certified(told, by="ac", attempt=Attempt(0, "c"))
    made = (peers.certified(replace(told, digest=f"m{n}"), by="bc", attempt=Attempt(0, "c")) for n in count())
    other = next(each for each in made if record_hash(each) < record_hash(mine))
    a = peers.machines["a"]
    a.healed(mine, peers.now)
    peers.do("a", a.offer(ContributionStats(peer="a", round=2, weight=1), peers.now))
    attempt = Attempt(4, "c")
    offer = peers.all("a", Send)[-1].message
    proposal = peers.proposal(attempt, mine, offer, peers.offer_of("c", mine), promised="ac")
    peers.tell("c", "a", Prepare(mine.lineage, 2, attempt))
    peers.tell("c", "a", Propose(proposal))
    peers.do("a", a.exchanged(proposal.key, "m2", (), peers.now))
    peers.tell("c", "a", peers.asks(proposal, "m2"))
    assert [kind for _, _, kind in peers.sent if isinstance(kind, Accepted)], "it votes after the first record"
    peers.tell("b", "a", Decide(other))
    peers.do("a", a.offer(ContributionStats(peer="a", round=2, weight=1), peers.now))
    assert a.commit == other
    peers.sent.clear()
    peers.tell("b", "a", Prepare(other.lineage, 2, Attempt(7, "b")))
    assert not [kind for _, _, kind in peers.sent if isinstance(kind, Promise)]

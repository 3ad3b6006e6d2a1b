"""Commits that a peer missed: when it fetches one, from whom, and what it answers to peers that are behind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarm.certification.statements import record_hash
from swarm.consensus.effects import Apply, Effect, Heal, Notice, Send, Skip, StartExchange
from swarm.consensus.machine import RoundMachine
from swarm.consensus.strikes import FACTOR, FIRST
from swarm.messages import Decide, Failed, Message, Offer, Propose
from swarm.records import Attempt, Commit, ContributionStats, Origin, RecordKind
from tests import signing


def heals(effects: list[Effect]) -> list[Heal]:
    return [effect for effect in effects if isinstance(effect, Heal)]


def sent(effects: list[Effect]) -> list[tuple[str, Message]]:
    return [(effect.to, effect.message) for effect in effects if isinstance(effect, Send)]


class Behind:
    """The machine of ``a``, in a session with ``b`` and ``c``, and a commit that it lacks."""

    def __init__(self, founded) -> None:
        peers = self.peers = founded("a", "b", "c")
        self.now = peers.now
        self.machine: RoundMachine = peers.machines["a"]
        assert self.machine.commit is not None
        self.ahead: Commit = replace(self.machine.commit, round=4, digest="ahead", previous="unknown")
        fork = Origin("other", 1, majority=False)
        self.fork: Commit = replace(self.ahead, lineage="other", origins=(*self.ahead.origins, fork))
        """Of a minority: the lineage of ``a`` stands against it."""

    def offer(self) -> list[Effect]:
        return self.machine.offer(ContributionStats(peer="a", round=self.machine.round, weight=1), self.now)

    def told(self, sender: str, commit: Commit) -> list[Effect]:
        return self.machine.receive(sender, Decide(commit), self.now)


@pytest.fixture
def behind(founded) -> Behind:
    return Behind(founded)


def test_the_model_of_a_missed_commit_is_fetched_at_the_next_sync_point_from_all_that_have_it(behind) -> None:
    assert not heals(behind.told("c", behind.ahead))
    assert not heals(behind.told("b", behind.ahead))
    assert heals(behind.offer()) == [Heal(behind.ahead, ("b", "c"))]


def test_a_source_that_failed_is_not_asked_again(behind) -> None:
    behind.told("b", behind.ahead)
    behind.told("c", behind.ahead)
    behind.offer()
    assert heals(behind.machine.heal_failed(behind.ahead, ("b",), behind.now)) == [Heal(behind.ahead, ("c",))]
    assert not heals(behind.machine.heal_failed(behind.ahead, ("c",), behind.now))
    assert not heals(behind.machine.tick(behind.now + 1))
    assert heals(behind.told("b", behind.ahead)) == [Heal(behind.ahead, ("b",))]


@pytest.mark.parametrize("certified", [True, False])
def test_a_record_that_follows_the_own_one_is_fetched_only_if_it_is_certified(behind, certified: bool) -> None:
    ours = behind.machine.commit
    next_one = replace(ours, round=1, digest="next", kind=RecordKind.ROUND, previous=record_hash(ours), credentials=())
    told = behind.peers.certified(next_one) if certified else behind.peers.certified(next_one, by="b")
    effects = behind.told("b", told) + behind.offer()
    assert bool(heals(effects)) is certified
    warned = any(
        isinstance(effect, Notice) and "b told of a round that is not certified" in effect.text for effect in effects
    )
    assert warned is not certified


def test_another_record_of_the_last_round_is_fetched_only_if_it_is_certified(behind) -> None:
    first = behind.machine.commit
    after = replace(first, round=1, kind=RecordKind.ROUND, previous=record_hash(first), credentials=())
    *others, ours = sorted((replace(after, digest=f"d{number}") for number in range(8)), key=record_hash)
    ours = behind.peers.certified(ours)
    behind.machine.healed(ours, behind.now)
    behind.offer()
    others = [replace(other, certificate=ours.certificate) for other in others]
    assert not any(heals(behind.told("b", other)) for other in others)
    assert heals(behind.told("b", behind.peers.certified(replace(others[0], certificate=None))))


def test_who_gave_no_true_records_is_not_asked_again_for_longer_each_time(behind) -> None:
    behind.offer()
    for seconds in (FIRST, FIRST * FACTOR):
        assert heals(behind.told("b", behind.ahead))
        effects = behind.machine.heal_failed(behind.ahead, ("b",), behind.now, ("b",))
        assert any(isinstance(effect, Notice) and effect.text.startswith("b told of a round") for effect in effects)
        assert not heals(behind.told("b", behind.ahead))
        behind.now += seconds - 0.1
        assert not heals(behind.told("b", behind.ahead))
        behind.now += 0.1
    assert heals(behind.told("b", behind.ahead))


def test_while_a_model_is_fetched_no_attempt_is_joined(behind) -> None:
    commit = behind.machine.commit
    offers = [behind.peers.offer_of(peer, commit) for peer in "abc"]
    proposal = behind.peers.proposal(Attempt(5, "b"), commit, *offers, promised="bc")
    behind.told("b", behind.ahead)
    behind.offer()
    refusal = Failed(*proposal.key, "a", "a has nothing on offer")
    assert sent(behind.machine.receive("b", Propose(proposal), behind.now)) == [("b", refusal)]
    assert behind.machine.tick(behind.now + 100) == [], "one fetch at a time, and no offer is retransmitted"
    behind.machine.heal_failed(behind.ahead, ("b",), behind.now)
    assert StartExchange(proposal) in behind.machine.receive("b", Propose(proposal), behind.now)


def test_a_source_that_is_gone_is_not_asked(behind) -> None:
    behind.told("b", behind.ahead)
    behind.told("c", behind.ahead)
    behind.machine.peer_down("b", behind.now)
    assert heals(behind.offer()) == [Heal(behind.ahead, ("c",))]


def test_a_commit_that_no_live_peer_has_any_more_is_forgotten(behind) -> None:
    behind.told("b", behind.ahead)
    behind.machine.peer_down("b", behind.now)
    assert not heals(behind.offer())
    behind.machine.peer_up("b", None, behind.now)
    assert not heals(behind.machine.tick(behind.now))


def test_only_the_furthest_commit_is_fetched(behind) -> None:
    further = replace(behind.ahead, round=6, digest="further")
    behind.told("b", behind.ahead)
    behind.told("c", further)
    behind.told("b", behind.ahead)
    assert heals(behind.offer()) == [Heal(further, ("c",))]


def test_what_a_peer_has_caught_up_with_is_not_fetched_again(behind) -> None:
    behind.told("b", behind.ahead)
    behind.offer()
    behind.machine.healed(behind.ahead, behind.now)
    assert behind.machine.commit == behind.ahead
    assert not heals(behind.offer())
    assert not heals(behind.told("c", behind.ahead))


def test_a_further_commit_that_was_seen_meanwhile_is_fetched_next(behind) -> None:
    further = replace(behind.ahead, round=6, digest="further")
    behind.told("b", behind.ahead)
    behind.offer()
    behind.told("c", further)
    behind.machine.healed(behind.ahead, behind.now)
    assert heals(behind.offer()) == [Heal(further, ("c",))]


def test_a_peer_votes_on_in_its_lineage_and_not_at_once_in_another(behind) -> None:
    assert behind.machine.votes
    behind.machine.healed(behind.ahead, behind.now)
    assert behind.machine.votes
    effects = behind.machine.healed(replace(behind.ahead, lineage="other"), behind.now)
    assert not behind.machine.votes
    (notice,) = [effect for effect in effects if isinstance(effect, Notice)]
    assert notice.text == f"lineage {behind.ahead.lineage} up to round 4 is given up for lineage other"
    assert notice.loud


def test_a_peer_of_a_lineage_that_does_not_stand_is_told_the_one_that_does(behind) -> None:
    ours = behind.machine.commit
    assert sent(behind.told("b", behind.fork)) == [("b", Decide(ours))]
    assert sent(behind.told("b", replace(ours, round=ours.round - 1))) == [], "its next offer is answered"
    assert not heals(behind.offer())


def test_after_the_closing_round_nothing_is_fetched_and_no_other_lineage_is_answered(behind) -> None:
    behind.machine.healed(replace(behind.ahead, closing=True), behind.now)
    assert behind.machine.closed
    assert not behind.told("b", replace(behind.ahead, round=9))
    assert not behind.told("b", replace(behind.fork, round=9))
    assert not heals(behind.offer())


def test_an_offer_from_another_lineage_or_an_earlier_round_is_answered_with_the_last_commit(behind) -> None:
    behind.machine.healed(behind.ahead, behind.now)
    stats = ContributionStats(peer="b", round=5, weight=1)
    previous = record_hash(behind.ahead)

    def offer(lineage: str, round_: int, previous: str) -> Offer:
        made = Offer(lineage, "ahead", votes=True, stats=replace(stats, round=round_), previous=previous)
        return signing.signed_offer("s", behind.peers.signers["b"], made)

    offers = {
        (lineage, round_): offer(lineage, round_, previous)
        for lineage in (behind.ahead.lineage, "other")
        for round_ in (4, 5, 6)
    }
    answered = {
        key
        for key, offer in offers.items()
        if sent(behind.machine.receive("b", offer, behind.now)) == [("b", Decide(behind.ahead))]
    }
    assert answered == {(behind.ahead.lineage, 4), ("other", 4), ("other", 5), ("other", 6)}
    apart = offer(behind.ahead.lineage, 5, "0" * 64)
    told = sent(behind.machine.receive("b", apart, behind.now))
    assert told == [("b", Decide(behind.ahead))], "of two records of one round, each has to learn of the other"


def test_a_proposal_on_a_model_that_is_not_here_is_refused_with_the_own_round(behind, founded) -> None:
    behind.offer()
    peers = founded("a", "b", "c")
    peers.exchanging = False
    peers.offer("a", "b", "c")
    (proposal,) = peers.running()
    other = replace(proposal, attempt=Attempt(8, "b"), parent="elsewhere", lineage="other")
    ((to, failed),) = sent(behind.machine.receive("b", Propose(other), behind.now))
    assert to == "b"
    assert failed == Failed("other", 1, Attempt(8, "b"), "a", f"a is at round 1 of lineage {proposal.lineage}")


def test_rounds_that_were_fetched_without_an_offer_teach_no_straggler_timeout(founded) -> None:
    peers = founded("a", "b", "c", straggler_timeout=None)
    machine = peers.machines["a"]
    for round_ in range(2, 12):
        machine.healed(replace(machine.commit, round=round_, digest=f"d{round_}"), peers.now)
    machine.offer(ContributionStats(peer="a", round=machine.round, weight=1), peers.now)
    machine.peer_down("b", peers.now)
    machine.peer_down("c", peers.now)
    assert not [each for each in machine.tick(peers.now + 9.9) if isinstance(each, Skip)]
    assert [each for each in machine.tick(peers.now + 10.1) if isinstance(each, Skip)], "it is the failure timeout"


def test_a_commit_that_comes_while_another_is_fetched_waits(founded) -> None:
    peers = founded("a", "b", "c")
    peers.offer("a", "b", "c")
    commit = peers.commits("a")[-1]
    machine = peers.machines["b"]
    ahead = replace(commit, round=commit.round + 3, digest="far", previous="unknown")
    effects = machine.peer_up("a", ahead, peers.now, weight=1)
    stats = peers.stats["b"]
    effects += machine.offer(replace(stats, round=machine.round), peers.now)
    assert [effect.commit for effect in effects if isinstance(effect, Heal)] == [ahead]
    effects = machine.exchanged(("line", 0, None), "late", (), peers.now)  # type: ignore[arg-type]
    assert not [effect for effect in effects if isinstance(effect, Apply)]
    machine.healed(ahead, peers.now)
    assert machine.commit == ahead

"""Which leader a peer follows, when it gives one up, and when it leads itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from swarm.consensus import strikes
from swarm.consensus.effects import Effect, Heal, Send, StartExchange
from swarm.consensus.machine import RoundMachine
from swarm.consensus.paxos import MOST_ATTEMPTS, leader_order
from swarm.messages import Abort, Decide, Nack, Prepare, Promise, Proposal, Propose
from swarm.records import Attempt, ContributionStats

STRAGGLER, FAILURE = 3.0, 10.0


class OneFollower:
    """The machine of the second leader in the order of round 1, in a session of five; the others are played."""

    def __init__(self, founded) -> None:
        peers = founded(
            *"abcde", straggler_timeout=STRAGGLER, failure_timeout=FAILURE, min_peers=3, wait_below_quorum=True
        )
        self.first, self.me, *self.later = leader_order("s", 1, "abcde")
        self.machine: RoundMachine = peers.machines[self.me]
        self.now: float = peers.now
        commit = self.machine.commit
        assert commit is not None
        self.commit = commit
        self.peers = peers

    def hears(self, sender: str, message: object) -> list[Effect]:
        return self.machine.receive(sender, message, self.now)  # type: ignore[arg-type]

    def nacks(self, counter: int, promised: Attempt) -> None:
        """So many have promised a higher attempt that the rest is no majority."""
        nack = Nack(self.commit.lineage, 1, Attempt(counter, self.me), promised)
        for peer in self.later:
            self.hears(peer, nack)

    def wait(self, seconds: float) -> list[Effect]:
        self.now += seconds
        return self.machine.tick(self.now)

    def gone(self, peer: str) -> list[Effect]:
        return self.machine.peer_down(peer, self.now)

    def offers(self, names: Iterable[str], **fields: object) -> list[Effect]:
        effects = []
        for name in names:
            offer = self.peers.offer_of(name, self.commit, **fields)
            if name == self.me:
                effects += self.machine.offer(offer.stats, self.now)
            else:
                effects += self.hears(name, offer)
        return effects

    def proposal(self) -> Proposal:
        """What the first leader would propose."""
        peers = self.peers
        peers.exchanging = False
        peers.offer(*"abcde")
        return peers.running()[0]


def led(effects: list[Effect]) -> set[Attempt]:
    """The attempts for which promises are asked."""
    return {
        effect.message.attempt for effect in effects if isinstance(effect, Send) and isinstance(effect.message, Prepare)
    }


@pytest.fixture
def follower(founded) -> OneFollower:
    return OneFollower(founded)


def test_a_peer_whose_turn_it_is_leads_at_once_where_the_first_leader_is_gone(follower) -> None:
    follower.offers([follower.me])
    assert led(follower.gone(follower.first)) == {Attempt(1, follower.me)}


def test_nobody_follows_a_leader_before_there_is_an_offer(follower) -> None:
    assert not led(follower.gone(follower.first))
    assert not led(follower.wait(100))
    assert led(follower.offers([follower.me])) == {Attempt(1, follower.me)}


def test_a_leader_that_could_close_the_group_is_silent_after_straggler_and_failure_timeout(follower) -> None:
    follower.offers([follower.me, *follower.later[:2]])
    assert not led(follower.wait(STRAGGLER + FAILURE - 0.1))
    assert led(follower.wait(0.2)) == {Attempt(1, follower.me)}


def test_that_time_begins_anew_with_each_offer(follower) -> None:
    follower.offers([follower.me, *follower.later[:2]])
    follower.wait(10)
    follower.offers(follower.later[2:])
    assert not led(follower.wait(STRAGGLER + FAILURE - 0.1))
    assert led(follower.wait(0.2))


@pytest.mark.parametrize("signal", ["0.5", "nan"])
def test_an_offer_that_is_repeated_does_not_begin_it_anew(follower, signal: str) -> None:
    follower.offers([follower.me, *follower.later[:2]], signal=float(signal))
    follower.wait(10)
    follower.offers(follower.later[:2], signal=float(signal))
    assert led(follower.wait(STRAGGLER + FAILURE - 9.9))


@pytest.mark.parametrize("away", [False, True])
def test_a_peer_that_offers_anew_again_and_again_does_not_begin_it_anew(follower, away) -> None:
    follower.offers([follower.me, *follower.later[:2]])
    for steps in range(1, 6):
        follower.wait((STRAGGLER + FAILURE - 0.1) / 5)
        if away:
            follower.gone(follower.later[0])
            follower.peers.meet(follower.me, follower.later[0])
        follower.offers(follower.later[:1], steps=steps)
    assert led(follower.wait(0.2)) == {Attempt(1, follower.me)}


def test_a_leader_is_not_silent_while_too_few_have_offered(follower) -> None:
    follower.offers([follower.me, follower.later[0]])
    for _ in range(5):
        assert not led(follower.wait(4.9))


def test_the_leader_of_an_exchange_is_silent_after_the_failure_timeout(follower) -> None:
    proposal = follower.proposal()
    follower.offers([follower.me])
    follower.hears(follower.first, Propose(proposal))
    assert not led(follower.wait(FAILURE - 0.1))
    follower.hears(follower.first, Propose(proposal))
    assert not led(follower.wait(FAILURE - 0.1)), "it was heard again"
    assert led(follower.wait(0.2)) == {Attempt(1, follower.me)}


def test_a_leader_that_only_repeats_itself_has_limited_time_for_a_result(follower) -> None:
    proposal = follower.proposal()
    follower.offers([follower.me])
    follower.hears(follower.first, Propose(proposal))
    follower.machine.exchanged(proposal.key, "merged", follower.peers.norms(proposal), follower.now)
    effects = []
    for _ in range(23):
        effects += follower.wait(1.0)
        effects += follower.hears(follower.first, Propose(proposal))
    assert led(effects) == {Attempt(1, follower.me)}
    assert follower.machine.left_out == {follower.first}


def test_weights_on_their_way_do_not_count_as_time_of_the_leader(follower) -> None:
    proposal = follower.proposal()
    follower.offers([follower.me])
    follower.hears(follower.first, Propose(proposal))
    for _ in range(100):
        assert not led(follower.wait(1.0))
        follower.hears(follower.first, Propose(proposal))


def test_all_attempts_of_one_leader_at_a_round_are_one_term(follower) -> None:
    follower.offers([follower.me, *follower.later])
    effects = []
    for counter in (3, 4, 5):
        effects += follower.wait(7.0)
        effects += follower.hears(
            follower.first, follower.peers.prepare(Attempt(counter, follower.first), follower.commit.lineage)
        )
    assert not led(effects)
    assert led(follower.wait(2.1)) == {Attempt(6, follower.me)}


def test_who_is_left_out_does_not_lead_where_another_one_can(follower) -> None:
    first, peers = follower.first, follower.peers
    follower.offers([follower.me, *follower.later])
    offers = [peers.offer_of(peer, follower.commit) for peer in "abcde"]
    lie = peers.proposal(Attempt(0, first), follower.commit, *offers, closing=True)
    assert led(follower.hears(first, Propose(lie))) == {Attempt(1, follower.me)}


def test_other_peers_do_not_extend_the_time_of_the_leader(follower) -> None:
    proposal = follower.proposal()
    follower.offers([follower.me])
    follower.hears(follower.first, Propose(proposal))
    follower.wait(FAILURE - 0.1)
    follower.hears(follower.later[0], Abort(*proposal.key, "a lie"))
    follower.offers(follower.later)
    assert led(follower.wait(0.2)) == {Attempt(1, follower.me)}


def test_an_answer_to_the_leader_begins_its_time_anew(follower) -> None:
    proposal = follower.proposal()
    follower.offers([follower.me])
    follower.hears(follower.first, Propose(proposal))
    follower.wait(FAILURE - 1)
    follower.machine.exchanged(proposal.key, "merged", (), follower.now)
    assert not led(follower.wait(FAILURE - 0.1))
    assert led(follower.wait(0.2))


def test_a_failure_that_was_told_to_the_leader_begins_its_time_anew(follower) -> None:
    proposal = follower.proposal()
    follower.offers([follower.me])
    follower.hears(follower.first, Propose(proposal))
    follower.wait(FAILURE - 1)
    follower.machine.exchange_failed(proposal.key, follower.later[0], "silence", follower.now)
    assert not led(follower.wait(FAILURE - 0.1))
    assert led(follower.wait(0.2))


def test_a_promise_makes_a_peer_wait_for_the_leader_that_has_it(follower) -> None:
    follower.offers([follower.me, *follower.later])
    follower.wait(STRAGGLER + FAILURE - 1)
    follower.hears(follower.later[0], follower.peers.prepare(Attempt(2, follower.later[0]), follower.commit.lineage))
    assert not led(follower.wait(STRAGGLER + FAILURE - 0.1))
    assert not led(follower.wait(0.2)), "the next two in the order come first"
    for peer in follower.later[1:]:
        assert not led(follower.gone(peer))
    assert led(follower.gone(follower.first)) == {Attempt(6, follower.me)}


@pytest.mark.parametrize("other", ["is heard", "is silent", "is gone"])
def test_who_has_led_in_vain_is_promised_again_only_without_another_leader(follower, other: str) -> None:
    """It could take this peer away from each attempt of that one."""
    one, two = follower.later[:2]
    follower.offers([follower.me, *follower.later])

    def promised(leader: str, counter: int) -> bool:
        effects = follower.hears(leader, follower.peers.prepare(Attempt(counter, leader), follower.commit.lineage))
        return any(isinstance(each, Send) and isinstance(each.message, Promise) for each in effects)

    assert promised(one, 5)
    assert promised(one, 6), "while no other one leads it may lead again"
    assert promised(two, 7)
    assert not promised(one, 8)
    if other == "is silent":
        follower.wait(FAILURE)
    if other == "is gone":
        follower.gone(two)
    assert promised(one, 8) is (other != "is heard")
    assert promised(follower.later[2], 9), "one that has not led yet"


def test_a_leader_that_was_silent_is_passed_over_until_it_comes_back(follower) -> None:
    order = [follower.first, follower.me, *follower.later]
    follower.offers([follower.me, *follower.later])
    assert led(follower.wait(STRAGGLER + FAILURE)) == {Attempt(1, follower.me)}
    follower.nacks(1, Attempt(4, order[4]))
    assert led(follower.gone(order[4])) == {Attempt(6, follower.me)}, "attempt 5 is that of the silent first leader"


def test_a_silent_leader_that_came_back_may_lead_again(follower) -> None:
    order = [follower.first, follower.me, *follower.later]
    follower.offers([follower.me, *follower.later])
    assert led(follower.wait(STRAGGLER + FAILURE)) == {Attempt(1, follower.me)}
    follower.machine.peer_up(follower.first, None, follower.now)
    follower.wait(strikes.FIRST)
    follower.nacks(1, Attempt(4, order[4]))
    assert not led(follower.gone(order[4])), "it waits for attempt 5"


def test_a_peer_that_missed_the_last_round_does_not_lead(founded) -> None:
    peers = founded("a", "b", "c", "d", straggler_timeout=1.0)
    missing = next(name for name in "abcd" if name != peers.leader() and name == leader_order("s", 2, "abcd")[0])
    peers.offer(*sorted({*"abcd"} - {missing}))
    peers.wait(1.1)
    assert peers.commits("a" if missing != "a" else "b")[-1].round == 1
    peers.offer(*sorted({*"abcd"} - {missing}))
    peers.wait(1.1)
    second = next(name for name in leader_order("s", 2, "abcd") if name != missing)
    proposed = [message.proposal for _, _, message in peers.sent if isinstance(message, Propose)]
    assert proposed[-1].attempt.leader == second
    assert proposed[-1].round == 2


def test_a_leader_that_gave_its_attempt_up_to_catch_up_leads_a_higher_one_when_that_fails(founded) -> None:
    peers = founded("a", "b", "c")
    leader = peers.leader()
    one, other = sorted({*"abc"} - {leader})
    machine = peers.machines[leader]
    assert machine.commit is not None
    ahead = replace(machine.commit, round=5, digest="ahead", previous="unknown")
    machine.receive(one, Decide(ahead), peers.now)
    stats = ContributionStats(peer=leader, round=1, weight=1)
    assert Heal(ahead, (one,)) in machine.offer(stats, peers.now)
    for name in (one, other):
        offer = peers.offer_of(name, machine.commit)
        assert not [each for each in machine.receive(name, offer, peers.now) if isinstance(each, StartExchange)]
    effects = machine.heal_failed(ahead, (one,), peers.now)
    assert {attempt.leader for attempt in led(effects)} <= {leader}
    assert not any(isinstance(effect, Send) and isinstance(effect.message, Propose) for effect in effects)


def test_after_the_closing_round_nobody_leads(follower) -> None:
    follower.machine.healed(replace(follower.commit, round=1, closing=True), follower.now)
    follower.offers([follower.me, *follower.later])
    assert not led(follower.wait(1000))


def test_a_leader_that_could_fork_and_is_silent_is_replaced_too(founded) -> None:
    peers = founded(*"abcd", straggler_timeout=STRAGGLER, failure_timeout=FAILURE, min_peers=2, wait_below_quorum=True)
    first, second, *gone = leader_order("s", 1, "abcd")
    machine, now = peers.machines[second], peers.now
    for peer in gone:
        machine.peer_down(peer, now)
    stats = ContributionStats(peer=first, round=1, weight=1)
    commit = machine.commit
    assert commit is not None
    machine.receive(first, peers.offer_of(first, commit), now)
    machine.offer(replace(stats, peer=second), now)
    assert not led(machine.tick(now + STRAGGLER + FAILURE - 0.1))
    assert led(machine.tick(now + STRAGGLER + FAILURE)) == {Attempt(1, second)}


@pytest.mark.parametrize("counter", [MOST_ATTEMPTS // 2, MOST_ATTEMPTS // 2 + 1, MOST_ATTEMPTS])
def test_a_nack_with_a_high_attempt_does_not_lead_a_leader_to_one_that_others_refuse(founded, counter: int) -> None:
    peers = founded(*"abcd", straggler_timeout=1.0, failure_timeout=5.0)
    leader = peers.leader()
    liar = min({*"abcd"} - {leader})
    peers.exchanging = False
    peers.offer(*"abcd")
    (proposal,) = peers.running()
    peers.exchanging = True
    peers.tell(liar, leader, Nack(*proposal.key, Attempt(counter, liar)))
    for running in peers.running():  # where the nack was ignored
        peers.exchange(running)
    peers.deliver()
    peers.wait(2.0)
    assert {peers.commits(name)[-1].round for name in "abcd"} == {1}

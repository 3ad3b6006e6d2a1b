"""Who is left out after attempts that failed, for how long, and that all peers leave out the same ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarm.consensus.effects import StartExchange
from swarm.consensus.paxos import leader_order
from swarm.consensus.strikes import BARRED, FIRST, FORGIVEN_AFTER, LONGEST, PAUSES, REMOVED, Strikes
from swarm.consensus.timing import Timer
from swarm.messages import Abort, Decide, Failed, Offer, Propose, Ready
from swarm.records import Attempt, ContributionStats, PeerStatus, SyncState


class Account:
    """Strikes, and the time."""

    def __init__(self) -> None:
        self.timer = Timer(100.0)
        self.strikes = Strikes(self.timer)
        self._attempts = 0

    def attempt(self) -> Attempt:
        """Another one of this round."""
        self._attempts += 1
        return Attempt(self._attempts, "ann")

    def strike(self, peer: str, times: int = 1) -> None:
        for _ in range(times):
            self.strikes.strike(self.attempt(), peer)

    def accuse(self, accuser: str, accused: str) -> str | None:
        return self.strikes.accuse(self.attempt(), accuser, accused)

    def wait(self, seconds: float) -> None:
        self.timer.advance(self.timer.now + seconds)

    def out_for(self, peer: str) -> float:
        """Seconds for which a peer is left out from now on."""
        self.timer.reset()
        if peer not in self.strikes.excluded():
            return 0.0
        assert self.timer.wake is not None, "the machine looks again when that ends"
        return self.timer.wake - self.timer.now


@pytest.fixture
def account() -> Account:
    return Account()


# For how long --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strikes", "seconds"), [(0, 0.0), (1, 2.0), (2, 2.0), (3, 8.0), (4, 32.0), (5, 128.0), (6, 512.0), (7, LONGEST)]
)
def test_a_peer_is_left_out_longer_at_each_strike(account: Account, strikes: int, seconds: float) -> None:
    account.strike("bob", strikes)
    assert account.out_for("bob") == seconds
    account.wait(seconds)
    assert not account.strikes.excluded()


def test_a_strike_counts_once_for_each_attempt(account: Account) -> None:
    attempt = account.attempt()
    for _ in range(5):
        account.strikes.strike(attempt, "bob")
    assert not account.strikes.barred()
    account.strikes.strike(attempt, "cid")
    assert account.strikes.excluded() == {"bob", "cid"}


@pytest.mark.parametrize("strikes", range(1, 6))
def test_who_is_left_out_again_and_again_is_not_waited_for_and_then_counts_as_gone(
    account: Account, strikes: int
) -> None:
    account.strike("bob", strikes)
    assert account.strikes.barred() == ({"bob"} if strikes >= BARRED else set())
    assert account.strikes.removed() == ({"bob"} if strikes >= REMOVED else set())
    account.wait(account.out_for("bob"))
    assert not account.strikes.barred()
    assert not account.strikes.removed()


def test_a_round_does_not_end_the_time_for_which_a_peer_is_left_out(account: Account) -> None:
    account.strike("bob", 3)
    account.strikes.new_round(["ann"])
    account.wait(7.9)
    assert account.strikes.excluded() == {"bob"}
    account.wait(0.2)
    assert not account.strikes.excluded()


def test_a_strike_is_forgotten_after_rounds_with_its_peer(account: Account) -> None:
    account.strike("bob", 3)
    account.wait(10)
    for _ in range(FORGIVEN_AFTER):
        account.strikes.new_round(["ann"])
    account.strike("bob")
    assert account.out_for("bob") == 32.0, "rounds without it do not count"
    account.wait(40)
    for _ in range(FORGIVEN_AFTER):
        account.strikes.new_round(["ann", "bob"])
    account.strike("bob")
    assert account.out_for("bob") == 32.0, "one of four is forgotten, and another one came"
    account.wait(40)
    for _ in range(FORGIVEN_AFTER - 1):
        account.strikes.new_round(["ann", "bob"])
    account.strike("bob")
    assert account.out_for("bob") == 128.0


def test_the_attempts_of_the_next_round_have_the_same_numbers(account: Account) -> None:
    attempt = account.attempt()
    account.strikes.strike(attempt, "bob")
    account.strikes.new_round(["ann"])
    account.wait(5)
    account.strikes.strike(attempt, "bob")
    assert account.strikes.excluded() == {"bob"}


# Whom ----------------------------------------------------------------------------------------------------------------


def test_of_two_in_dispute_first_the_blamed_one_is_left_out_then_the_other_in_turns(account: Account) -> None:
    assert [account.accuse("ann", "bob") for _ in range(4)] == ["bob", "ann", "bob", "ann"]


def test_who_blames_one_after_the_other_is_left_out_itself(account: Account) -> None:
    assert account.accuse("liar", "bob") == "bob"
    assert [account.accuse("liar", peer) for peer in ("cid", "dee", "eva")] == ["liar"] * 3


def test_who_is_blamed_by_two_is_left_out_by_both(account: Account) -> None:
    assert account.accuse("ann", "bob") == "bob"
    assert account.accuse("cid", "bob") == "bob"
    assert account.accuse("ann", "bob") == "bob", "it is in dispute with more peers"


def test_who_defends_itself_against_one_liar_is_not_left_out_for_ever(account: Account) -> None:
    """A liar blames a victim each time, and the victim the liar."""
    account.accuse("liar", "bob")
    account.accuse("liar", "cid")
    assert {account.accuse("bob", "liar") for _ in range(4)} == {"liar"}


def test_of_two_in_dispute_one_takes_part_again_when_the_other_is_left_out(account: Account) -> None:
    for _ in range(BARRED):
        account.accuse("liar", "bob")
        assert account.strikes.excluded() == {"bob"}
        account.accuse("liar", "bob")
        assert account.strikes.excluded() == account.strikes.paused() == {"liar"}


def test_a_dispute_frees_nobody_that_has_strikes_for_anything_else(account: Account) -> None:
    account.strike("bob")
    assert [account.accuse("liar", "bob"), account.accuse("liar", "bob")] == ["bob", "liar"]
    assert account.strikes.excluded() == {"bob", "liar"}


def test_an_accuser_is_heard_once_in_an_attempt(account: Account) -> None:
    attempt = account.attempt()
    assert account.strikes.accuse(attempt, "liar", "bob") == "bob"
    assert account.strikes.accuse(attempt, "liar", "cid") is None
    assert account.strikes.excluded() == {"bob"}
    account.strikes.new_round(["ann"])
    assert account.strikes.accuse(attempt, "liar", "cid") == "liar"


def test_a_peer_that_leaves_an_attempt_by_itself_pauses_and_does_so_often_gets_a_strike(account: Account) -> None:
    for number in range(1, 4 * PAUSES + 1):
        assert account.accuse("bob", "bob") == "bob"
        strikes = number // PAUSES
        struck = number % PAUSES == 0
        assert account.out_for("bob") == (FIRST * 4.0 ** max(strikes - 2, 0) if struck else FIRST)
        account.wait(700)


def test_a_pause_does_not_shorten_the_time_for_which_a_peer_is_left_out(account: Account) -> None:
    account.strike("bob", 3)
    account.accuse("bob", "bob")
    assert account.out_for("bob") == 8.0


def test_a_peer_that_was_behind_lets_those_in_again_that_could_take_no_part(account: Account) -> None:
    account.strike("cid")
    for peer in ("bob", "cid"):
        account.accuse(peer, peer)
    account.strikes.caught_up()
    assert account.strikes.excluded() == {"cid"}
    for _ in range(PAUSES - 1):
        account.accuse("bob", "bob")
    account.strikes.caught_up()
    assert account.strikes.excluded() == {"cid"}, "no strike: the pauses before count no more"


def test_a_leader_of_many_attempts_at_one_round_gets_a_strike(account: Account) -> None:
    for _ in range(PAUSES - 1):
        account.strikes.leads(account.attempt())
    assert not account.strikes.excluded()
    account.strikes.leads(account.attempt())
    assert account.strikes.excluded() == {"ann"}
    account.wait(10)
    account.strikes.new_round(["ann"])
    for _ in range(PAUSES - 1):
        account.strikes.leads(account.attempt())
    assert not account.strikes.excluded()


def test_the_blame_of_a_peer_that_is_admitted_no_more_counts_no_more(account: Account) -> None:
    account.strike("eva")
    account.strike("bob", BARRED - 2)
    assert [account.accuse("liar", "bob"), account.accuse("bob", "liar")] == ["bob", "bob"], "in turns"
    assert account.strikes.barred() == {"bob"}
    account.strikes.gone("liar", revoked=True)
    assert account.strikes.excluded() == {"eva"}
    account.strike("bob", 2)
    assert account.strikes.barred() == {"bob"}, "its other strikes stay"
    account.strikes.gone("liar", revoked=True)
    assert account.strikes.barred() == {"bob"}
    assert account.accuse("cid", "bob") == "bob"
    assert account.accuse("bob", "dee") == "bob", "the dispute with the one that is gone counts no more, others do"


def test_the_blame_of_a_peer_that_is_gone_counts_no_more_in_this_round(account: Account) -> None:
    account.accuse("old", "bob")
    account.accuse("new", "cid")
    account.strikes.new_round(["bob"])
    account.accuse("new", "dee")
    account.accuse("new", "eva")
    assert account.strikes.excluded() == {"bob", "cid", "new"}
    for peer in ("old", "new"):
        account.strikes.gone(peer, revoked=False)
    assert account.strikes.excluded() == {"bob", "cid", "new"}, "of earlier rounds it does, and against itself"
    account.strikes.new_round(["bob"])
    account.strikes.gone("new", revoked=True)
    assert account.strikes.excluded() == {"bob", "new"}


def test_a_peer_that_leaves_does_not_free_one_that_others_have_struck_too(account: Account) -> None:
    account.strike("bob", 2)
    assert [account.accuse("friend", "bob"), account.accuse("bob", "friend")] == ["bob", "bob"], "in turns"
    account.strikes.gone("friend", revoked=False)
    assert account.strikes.excluded() == {"bob"}


def test_of_a_peer_that_is_admitted_no_more_its_own_strikes_stay(account: Account) -> None:
    account.accuse("bob", "liar")
    account.strikes.gone("liar", revoked=True)
    assert account.strikes.excluded() == {"liar"}


def test_a_strike_that_was_forgotten_is_not_taken_back_once_more(account: Account) -> None:
    account.accuse("liar", "bob")
    for _ in range(FORGIVEN_AFTER):
        account.strikes.new_round(["bob"])
    account.strikes.gone("liar", revoked=True)
    account.strike("bob", BARRED)
    assert account.strikes.barred() == {"bob"}


# All peers alike -----------------------------------------------------------------------------------------------------


def fail(peers, accuser: str, accused: str) -> None:
    """A member says that the running exchange cannot finish because of another one."""
    peers.exchanging = True
    (proposal,) = peers.running()
    peers.do(accuser, peers.machines[accuser].exchange_failed(proposal.key, accused, "silence", peers.now))
    peers.deliver()


def left_out(peers) -> set[frozenset[str]]:
    return {machine.left_out for machine in peers.machines.values()}


def test_the_whole_group_leaves_out_the_peer_that_a_member_blames(founded) -> None:
    peers = founded(*"abcde")
    accuser, accused = sorted({*"abcde"} - {peers.leader()})[:2]
    peers.exchanging = False
    peers.offer(*"abcde")
    fail(peers, accuser, accused)
    assert left_out(peers) == {frozenset({accused})}
    peers.wait(1.0)
    assert {peers.commits(name)[-1].group for name in "abcde" if name != accused} == {
        tuple(sorted({*"abcde"} - {accused}))
    }


def test_whom_a_peer_has_blamed_that_is_admitted_no_more_is_in_the_next_attempt(founded) -> None:
    """The peer that refuses it first is blamed for that, by those who have yet to hear of it."""
    peers = founded(*"abc")
    first = peers.leader()
    revoked, other = sorted({*"abc"} - {first})
    peers.exchanging = False
    peers.offer(*"abc")
    (proposal,) = peers.running()
    peers.do(revoked, peers.machines[revoked].exchange_failed(proposal.key, first, "it is silent", peers.now))
    peers.deliver()
    assert peers.machines[other].left_out == {first}
    peers.exchanging = True
    peers.drop = lambda sender, to, message: revoked in (sender, to)
    for name in (other, first):
        peers.do(name, peers.machines[name].peer_down(revoked, peers.now, revoked=True))
    peers.deliver()
    peers.wait(FIRST / 4)
    assert peers.machines[other].left_out == frozenset()
    assert {peers.commits(name)[-1].group for name in (first, other)} == {tuple(sorted((first, other)))}
    assert {peers.commits(name)[-1].round for name in (first, other)} == {1}


def test_who_blames_a_member_that_has_left_is_never_left_out_itself(founded) -> None:
    """Its streams to that one have ended. Not at the first time, and not when that one leaves again."""
    peers = founded(*"abcde")
    leavers = [name for name in "abcde" if name not in {leader_order("s", round_, "abcde")[0] for round_ in (1, 2)}]
    leaver, accuser = leavers[:2]
    others = sorted({*"abcde"} - {leaver})
    for round_ in (1, 2):
        peers.exchanging = False
        peers.offer(*"abcde")
        (proposal,) = peers.running()
        assert leaver in proposal.group
        peers.exchanging = True
        peers.do(accuser, peers.machines[accuser].exchange_failed(proposal.key, leaver, "it has left", peers.now))
        peers.part((leaver,), others)
        peers.wait(1.0)
        assert {(peers.commits(name)[-1].round, peers.commits(name)[-1].group) for name in others} == {
            (round_, tuple(others))
        }
        assert {accuser} not in {peers.machines[name].left_out for name in others}
        for other in others:
            peers.meet(leaver, other)
        peers.wait(10.0)


def test_a_member_that_blames_others_in_turn_is_left_out_by_all(founded) -> None:
    peers = founded(*"abcde")
    liar, *others = sorted({*"abcde"} - {peers.leader()})
    for victim in others[:2]:
        peers.exchanging = False
        peers.offer(*"abcde")
        fail(peers, liar, victim)
        now_out = left_out(peers)
        peers.wait(3.0)
    assert now_out == {frozenset({liar})}
    assert peers.commits(others[1])[-1].round == 2


def test_the_whole_group_leaves_out_who_does_not_become_ready(founded) -> None:
    """Not each leader for itself: each of them would wait for it once more."""
    peers = founded(*"abcd", failure_timeout=2.0)
    leader = peers.leader()
    silent, *others = sorted({*"abcd"} - {leader})
    peers.drop = lambda sender, to, message: sender == silent and isinstance(message, Ready)
    peers.offer(*"abcd")
    peers.wait(2.1)
    assert {peers.machines[name].left_out for name in (leader, *others)} == {frozenset({silent})}
    assert {peers.commits(name)[-1].group for name in others} == {tuple(sorted((leader, *others)))}
    said = f"round 1: {leader} gives up an attempt and blames {silent}: it did not become ready"
    assert all(said in peers.said(name) for name in others)


def lied_to(peers, proposal, *, field: str = "sync"):
    """The proposal of a leader that lies."""
    return replace(proposal, **{field: SyncState(2**31 - 1)})


def test_a_leader_whose_proposal_is_rejected_is_left_out_by_those_who_reject_it(founded) -> None:
    peers = founded(*"abcde")
    leader = peers.leader()
    others = sorted({*"abcde"} - {leader})
    peers.drop = lambda sender, to, message: sender == leader and not isinstance(message, Offer)
    peers.offer(*"abcde")
    honest = [message.proposal for _, _, message in peers.sent if isinstance(message, Propose)][-1]
    for name in others:
        peers.tell(leader, name, Propose(lied_to(peers, honest)))
    assert {peers.machines[name].left_out for name in others} == {frozenset({leader})}
    joined = [start.proposal for name in others for start in peers.all(name, StartExchange)]
    assert {proposal.attempt.leader for proposal in joined if proposal.round == 1} == {leader_order("s", 1, "abcde")[1]}
    assert {(peers.commits(name)[-1].round, peers.commits(name)[-1].group) for name in others} == {(1, tuple(others))}


def test_who_asks_only_the_leader_for_promises_is_late_itself_and_removed(founded) -> None:
    """The leader tells all for whom it leads no more."""
    peers = founded(*"abcd", failure_timeout=2.0)
    first, *_ = leader_order("s", 1, "abcd")
    liar, *others = sorted({*"abcd"} - {first})
    peers.exchanging = False
    peers.offer(*"abcd")
    (proposal,) = peers.running()
    peers.exchanging = True
    peers.drop = lambda sender, to, message: sender == liar and not isinstance(message, Offer)
    peers.tell(liar, first, peers.prepare(Attempt(1, liar), proposal.lineage))
    peers.wait(3.1)
    text = f"round 1: {liar}, which leads it, came to no result in time"
    assert all(text in peers.said(name) for name in (first, *others))
    assert {peers.machines[name].left_out for name in (first, *others)} == {frozenset({liar})}
    peers.wait(1.0)
    assert {peers.commits(name)[-1].group for name in (first, *others)} == {tuple(sorted((first, *others)))}


@pytest.mark.parametrize("joined", [False, True], ids=["before it joins", "after it has joined"])
def test_who_takes_one_member_away_from_each_leader_is_removed_and_that_member_is_not(founded, joined: bool) -> None:
    """It asks that one alone for promises, each time to an attempt just above the one that is proposed."""
    names = "abcd"
    peers = founded(*names, failure_timeout=4.0)
    victim, *others, liar = names
    seen: set[Attempt] = set()

    def asks(sender: str, to: str, message: object) -> bool:
        if not isinstance(message, Propose) or to != victim or sender in (liar, victim):
            return False
        key = message.proposal.key
        if joined and key not in seen:
            seen.add(key)
            peers.do(victim, peers.machines[victim].receive(sender, message, peers.now))
        attempt = Attempt(message.proposal.attempt.counter + 1, liar)
        asked = peers.prepare(attempt, message.proposal.lineage, message.proposal.round)
        peers.do(victim, peers.machines[victim].receive(liar, asked, peers.now))
        return False

    peers.drop = asks
    least: dict[str, int] = {}
    for _ in range(60):
        for name in names:
            if not peers.machines[name].offered:
                peers.offer(name)
        peers.wait(1.0)
        members = peers.commits(others[0])[-1].members
        least = {name: least.get(name, 0) + (name not in members) for name in names}
    assert least[liar] > 0
    assert {name for name, rounds in least.items() if rounds} == {liar}, least


def test_a_member_that_rejects_what_the_others_have_joined_is_left_out(founded) -> None:
    peers = founded(*"abcde")
    leader = peers.leader()
    liar, *others = sorted({*"abcde"} - {leader})
    peers.exchanging = False
    peers.offer(*"abcde")
    (proposal,) = peers.running()
    peers.exchanging = True
    for name in (*others, leader):
        peers.tell(liar, name, Failed(*proposal.key, leader, "a lie", rejects=True))
    assert {peers.machines[name].left_out for name in (leader, *others)} == {frozenset({liar})}
    peers.wait(1.0)
    assert liar not in peers.commits(leader)[-1].group
    assert peers.commits(leader)[-1].round == 1


def test_nobody_is_judged_by_those_who_were_not_in_the_attempt(founded) -> None:
    peers = founded(*"abcde", straggler_timeout=1.0)
    leader = peers.leader()
    outsider, *members = sorted({*"abcde"} - {leader})
    peers.exchanging = False
    peers.offer(leader, *members)
    peers.wait(1.1)
    (proposal,) = peers.running()
    for message in (
        Failed(*proposal.key, members[0], "a lie"),
        Failed(*proposal.key, leader, "a lie", rejects=True),
    ):
        for name in (leader, *members):
            peers.tell(outsider, name, message)
    assert left_out(peers) == {frozenset()}
    other = replace(proposal, attempt=Attempt(9, leader))
    peers.tell(members[0], leader, Failed(*other.key, members[1], "of another attempt"))
    assert left_out(peers) == {frozenset()}


def test_a_peer_that_would_found_what_others_have_founded_leaves_out_none_of_them(swarm) -> None:
    """They say that they cannot take part, and are right: it comes late, and joins them."""
    late, *others = leader_order("s", 0, "abc")
    peers = swarm(others, min_peers=2, expected=3)
    peers.add(late, alone=True)
    peers.exchanging = False
    peers.meet(late, others[0])
    peers.drop = lambda sender, to, message: late in (sender, to) and not isinstance(message, Offer)
    peers.offer(*others)
    peers.machines[late].offer(ContributionStats(peer=late, round=0, weight=1), peers.now)
    peers.wait(1.1)
    assert all(peers.machines[name].commit is None for name in "abc")
    proposals = [proposal for proposal in peers.running() if late not in proposal.group]
    peers.exchanging = True
    peers.exchange(proposals[0])
    peers.deliver()
    peers.drop = lambda sender, to, message: False
    peers.stats[late] = ContributionStats(peer=late, round=0, weight=1)
    peers.wait(1.1)
    assert "is at round 1" in peers.said(late)
    peers.tell(others[0], late, Decide(peers.commits(others[0])[-1]))
    assert peers.machines[late].round == 1
    assert peers.machines[late].left_out == frozenset()


@pytest.mark.parametrize(("failures", "closes"), [(REMOVED - 1, False), (REMOVED, True)])
def test_the_end_of_a_session_does_not_wait_for_a_live_peer_that_failed_too_often(
    founded, failures: int, closes: bool
) -> None:
    peers = founded("a", "b", "c", "d", straggler_timeout=0.1, failure_timeout=60.0)
    odd = next(name for name in "abcd" if name not in {leader_order("s", round_, "abcd")[0] for round_ in range(1, 5)})
    honest = sorted({*"abcd"} - {odd})
    for _ in range(failures):
        peers.exchanging = False
        peers.offer(*"abcd")
        (proposal,) = peers.running()
        assert odd in proposal.group
        peers.exchanging = True
        for name in honest:
            peers.do(name, peers.machines[name].exchange_failed(proposal.key, odd, "silence", peers.now))
        peers.deliver()
        peers.wait(1.0)
        assert peers.commits(honest[0])[-1].group == tuple(honest)
        if len(peers.commits(honest[0])) <= failures:
            peers.wait(10.0)
    peers.offer(*honest, status=PeerStatus.SNAPSHOT)
    peers.wait(5.0)
    last = peers.commits(honest[0])[-1]
    assert (last.closing, last.members) == ((True, tuple(honest)) if closes else (False, ("a", "b", "c", "d")))


@pytest.mark.parametrize("status", [PeerStatus.TRAINING, PeerStatus.SNAPSHOT])
def test_a_peer_without_which_nothing_can_be_decided_is_left_out_for_a_short_pause_only(
    founded, status: PeerStatus
) -> None:
    peers = founded("a", "b", failure_timeout=60.0, wait_below_quorum=True)
    for _ in range(REMOVED + 1):
        peers.exchanging = False
        peers.offer("a", "b", status=status)
        peers.wait(FIRST + 0.1)
        fail(peers, "a", "b")
        assert peers.commits("a")[-1].round == 0
    peers.wait(FIRST + 0.1)
    assert [peers.commits(name)[-1].group for name in "ab"] == [("a", "b")] * 2
    assert peers.commits("a")[-1].round == 1


def test_who_does_not_vote_makes_no_other_peer_dispensable(founded) -> None:
    """Of three, one has restarted and does not vote in this round: the other two are needed."""
    peers = founded("a", "b", "c", failure_timeout=60.0, wait_below_quorum=True)
    peers.crash("c")
    peers.add("c", "2")
    for _ in range(REMOVED + 1):
        peers.exchanging = False
        peers.offer("a", "b", "c")
        peers.wait(FIRST + 0.1)
        fail(peers, "a", "b")
        assert peers.commits("a")[-1].round == 0
    peers.wait(FIRST + 0.1)
    assert peers.commits("a")[-1].round == 1
    assert peers.commits("a")[-1].group == ("a", "b", "c")


def test_a_session_closes_without_a_member_that_all_count_as_gone_but_not_before_its_offer_was_made(founded) -> None:
    """They have offered before they gave it up, so what they say of it has to be told anew."""
    peers = founded("a", "b", "c", "d", straggler_timeout=0.1, failure_timeout=60.0)
    odd, *honest = sorted("abcd", key=lambda name: name == peers.leader())
    for failure in range(REMOVED):
        peers.exchanging = False
        peers.offer(odd)
        if failure == 0:
            peers.offer(*honest, status=PeerStatus.SNAPSHOT)
        peers.wait(1.0)
        (proposal,) = peers.running()
        assert odd in proposal.group
        peers.exchanging = failure == REMOVED - 1
        for name in honest:
            peers.do(name, peers.machines[name].exchange_failed(proposal.key, odd, "silence", peers.now))
        peers.deliver()
        peers.wait(9.0)
    last = peers.commits(honest[0])[-1]
    assert (last.closing, last.members) == (True, tuple(sorted(honest)))


def test_an_abort_alone_leaves_nobody_out(founded) -> None:
    peers = founded("a", "b", "c")
    leader = peers.leader()
    member = next(name for name in "abc" if name != leader)
    peers.exchanging = False
    peers.offer("a", "b", "c")
    (proposal,) = peers.running()
    peers.tell(leader, member, Abort(*proposal.key, "it says so"))
    assert left_out(peers) == {frozenset()}


def test_a_leader_that_could_form_no_group_while_a_peer_was_left_out_is_not_late(founded) -> None:
    """The closing round needs all, so nobody can propose it in the meantime."""
    peers = founded(*"abc", straggler_timeout=0.1, failure_timeout=FIRST / 2)
    accuser, accused = sorted({*"abc"} - {peers.leader()})
    peers.exchanging = False
    peers.offer(*"abc", status=PeerStatus.ACTIVE)
    fail(peers, accuser, accused)
    peers.wait(FIRST + 1.0)
    assert not any("no result in time" in peers.said(name) for name in "abc")
    assert all(peers.commits(name)[-1].closing for name in "abc")

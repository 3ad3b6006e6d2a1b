"""The version of the protocol that a session uses: the newest that all of its peers speak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from swarm.consensus.effects import Apply, Send, StartExchange
from swarm.messages import Failed, Message, Proposal, Propose
from swarm.records import Credential
from swarm.versions import Versions

NAMES = ("a", "b", "c")


def speaking(newest: int, oldest: int = 0) -> Versions:
    return Versions(newest, oldest, "")


def proposed(peers) -> dict[int, int]:
    """Version of the protocol by round."""
    proposals = [message.proposal for _, _, message in peers.sent if isinstance(message, Propose)]
    return {proposal.round: proposal.protocol for proposal in proposals}


@pytest.mark.parametrize(
    ("newest", "common"), [((0, 0, 0), 0), ((1, 0, 1), 0), ((1, 1, 1), 1), ((3, 1, 2), 1), ((2, 3, 3), 2)]
)
def test_a_session_uses_the_lowest_of_what_its_peers_speak_at_most(founded, newest, common) -> None:
    peers = founded(*NAMES, versions={name: speaking(number) for name, number in zip(NAMES, newest, strict=True)})
    peers.offer(*NAMES)
    assert proposed(peers) == {0: common, 1: common}
    assert {machine.protocol for machine in peers.machines.values()} == {common}


def test_the_last_peer_that_is_updated_raises_the_version_of_the_session(founded) -> None:
    peers = founded(*NAMES, versions={"b": speaking(1), "c": speaking(1)})
    assert "uses protocol 0, the newest that all of its peers speak" in peers.said("b")
    assert "protocol" not in peers.said("a")
    peers.crash("a")
    peers.versions["a"] = speaking(1)
    peers.offer("b", "c")
    peers.wait(2)
    peers.add("a", incarnation="2")
    peers.offer("a")
    peers.offer("b", "c")
    peers.wait(2)
    peers.offer(*NAMES)
    assert len(peers.commits("a")) >= 1
    last = max(proposed(peers))
    assert proposed(peers)[last] == 1
    assert {name: peers.machines[name].protocol for name in NAMES} == dict.fromkeys(NAMES, 1)
    assert "on the session uses protocol 1, the newest that all of its peers speak" in peers.said("b")


def test_a_voter_that_this_peer_has_never_met_counts_as_the_first_version(founded) -> None:
    peers = founded(*NAMES, versions={name: speaking(1) for name in NAMES})
    machine = peers.machines["a"]
    assert machine.protocol == 1
    peers.add("d")
    other = type(machine)("d", "d1", replace(peers.rules, versions=speaking(1)), peers.now)
    other.resume(machine.commit, peers.now)
    for name in ("a", "b"):
        other.peer_up(name, None, peers.now, newest=1)
    assert other.protocol == 0
    other.peer_up("c", None, peers.now, newest=1)
    assert other.protocol == 1


def test_a_session_never_uses_a_version_that_its_leader_has_given_up(founded) -> None:
    peers = founded(*NAMES, versions={name: speaking(3, oldest=2) for name in NAMES})
    peers.machines["a"].peer_up("b", None, peers.now, newest=1)
    assert peers.machines["a"].protocol == 2


@pytest.mark.parametrize("number", [1, 4])
def test_an_attempt_in_a_version_that_this_peer_does_not_speak_is_refused(founded, number: int) -> None:
    peers = founded(*NAMES, versions={name: speaking(3, oldest=2) for name in NAMES})
    peers.exchanging = False
    peers.offer(*NAMES)
    (running,) = peers.running()
    odd: Proposal = replace(
        running, attempt=replace(running.attempt, counter=running.attempt.counter + 1), protocol=number
    )
    leader = odd.attempt.leader
    member = next(name for name in NAMES if name != leader)
    effects = peers.machines[member].receive(leader, Propose(odd), peers.now)
    assert not [effect for effect in effects if isinstance(effect, StartExchange)]
    (failed,) = [effect.message for effect in effects if isinstance(effect, Send)]
    assert failed == Failed(*odd.key, member, f"{member} speaks the protocols 2 to 3, not {number}")


def answer(peers, changed: Callable[[Proposal], Proposal]) -> list[Message]:
    """What a member says to a further attempt of the leader, whose proposal is changed."""
    (running,) = peers.running()
    further = replace(running, attempt=replace(running.attempt, counter=running.attempt.counter + 1))
    odd, leader = changed(further), further.attempt.leader
    member = next(name for name in odd.group if name != leader)
    effects = peers.machines[member].receive(leader, Propose(odd), peers.now)
    return [effect.message for effect in effects if isinstance(effect, Send)]


OTHER = "does not accept the proposal of {}: its protocol is {}, and the newest that all of its peers speak is {}"


@pytest.mark.parametrize(("number", "newest"), [(2, 3), (3, 2)])
def test_a_member_rejects_another_version_than_the_newest_that_all_speak(founded, number: int, newest: int) -> None:
    spoken = dict(zip(NAMES, (speaking(3), speaking(3), speaking(newest)), strict=True))
    peers = founded(*NAMES, versions=spoken)
    peers.exchanging = False
    peers.offer(*NAMES)
    failed = answer(peers, lambda proposal: replace(proposal, protocol=number))[0]
    assert isinstance(failed, Failed)
    assert failed.rejects
    assert OTHER.format(failed.blamed, number, newest) in failed.reason


def test_a_member_rejects_another_version_in_the_founding_round(swarm) -> None:
    peers = swarm(NAMES, expected=3, versions={name: speaking(3) for name in NAMES})
    peers.exchanging = False
    peers.offer(*NAMES)
    failed = answer(peers, lambda proposal: replace(proposal, protocol=2))[0]
    assert OTHER.format(failed.blamed, 2, 3) in failed.reason


def test_a_leader_may_not_know_what_a_voter_speaks_that_is_away(founded) -> None:
    peers = founded(*NAMES, versions={name: speaking(3) for name in NAMES})
    peers.crash("c")
    peers.exchanging = False
    peers.offer("a", "b")
    peers.wait(2)
    said = answer(peers, lambda proposal: replace(proposal, protocol=0))
    assert not any("its protocol is" in message.reason for message in said if isinstance(message, Failed))


def test_a_member_cannot_tell_what_a_process_speaks_that_it_has_not_met(founded) -> None:
    peers = founded(*NAMES, versions={name: speaking(3) for name in NAMES})
    peers.exchanging = False
    peers.offer(*NAMES)
    (running,) = peers.running()
    member, other = (name for name in NAMES if name != running.attempt.leader)
    peers.machines[member].peer_up(other, None, peers.now, newest=2, credential=Credential(other, "00" * 32))
    said = answer(peers, lambda proposal: proposal)
    assert not any("its protocol is" in message.reason for message in said if isinstance(message, Failed))


def test_a_proposal_names_the_steps_of_its_members(founded) -> None:
    peers = founded(*NAMES)
    peers.offer("a", "b", steps=4)
    peers.offer("c", steps=9, weight=0)
    last = [message.proposal for _, _, message in peers.sent if isinstance(message, Propose)][-1]
    assert [entry.steps for entry in last.entries] == [4, 4, 9]
    (applied,) = [effect for effect in peers.all("a", Apply) if effect.commit.round == last.round]
    assert applied.entries == last.entries

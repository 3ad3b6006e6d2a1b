"""The addresses that a peer dials, how often and for how long."""

from __future__ import annotations

import logging
from collections.abc import Collection
from itertools import pairwise

import pytest

from swarm.discovery.base import Discovery
from swarm.messages import Envelope, Hello, Message, Refuse
from swarm.peer.gossip import FORGOTTEN_AFTER, MOST
from swarm.peer.greeter import LONGEST_GOSSIP_RETRY, LONGEST_RETRY, Greeter, NameTaken, TurnedAway
from swarm.plugins import PluginRegistry
from swarm.records import PeerInfo
from swarm.tensors.state import Schema

SCHEMA = Schema(())


def info(name: str, address: str, *, session: str = "s") -> PeerInfo:
    return PeerInfo(name=name, incarnation=f"{name}1", address=address, session=session, fingerprint=SCHEMA.fingerprint)


class Places(Discovery):
    """Addresses that the user gave."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    def announce(self, name: str, address: str, incarnation: str) -> None:
        """Nobody is told."""

    def discover(self) -> tuple[str, ...]:
        return self._addresses

    def withdraw(self) -> None:
        """Nothing was announced."""


class Desk:
    """A greeter on a clock of the test's, and what it sent."""

    def __init__(self, *given: str, address: str = "memory:1", members: Collection[str] = ()) -> None:
        self.sent: list[tuple[float, str, Message]] = []
        self.now = 0.0
        self.unreachable = True
        """Whether the network says that nobody is at an address that is dialled."""
        self.greeter = Greeter(
            me=info("me", address),
            schema=SCHEMA,
            discoveries=[Places(*given)],
            plugins=PluginRegistry(),
            logger=logging.getLogger("swarm.test"),
            send=lambda to, message: self.sent.append((self.now, to, message)),
            members=members,
        )

    def hear(self, peer: PeerInfo, *told: PeerInfo) -> None:
        envelope = Envelope(peer.session, peer.name, peer.incarnation, peer.address, None)
        hello = Hello(peer, (), told, None, wants_reply=True)
        self.greeter.greeted(envelope, hello, None, self.now)

    def refuse(self, peer: PeerInfo) -> None:
        refusal = Refuse("no", final=False)
        envelope = Envelope(peer.session, peer.name, peer.incarnation, peer.address, refusal)
        self.greeter.refused(envelope, refusal, self.now, 10.0)

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.5
            said = len(self.sent)
            self.greeter.dial(self.now, None)
            for _, address, _ in self.sent[said:]:
                if self.unreachable:
                    self.greeter.unanswered(address, "connection refused")

    def dialled(self, address: str) -> list[float]:
        return [at for at, to, message in self.sent if to == address and isinstance(message, Hello)]

    def told_to(self, address: str) -> list[str]:
        """Names in the last greeting to this address."""
        last = [message for _, to, message in self.sent if to == address and isinstance(message, Hello)][-1]
        return [each.name for each in last.roster]


def pauses(times: list[float]) -> list[float]:
    return [late - early for early, late in pairwise(times)]


def test_a_gossiped_address_is_dialled_less_and_less_often_and_then_forgotten() -> None:
    desk = Desk("memory:2")
    desk.hear(info("bob", "memory:3"), info("ghost", "memory:9"))
    desk.wait(FORGOTTEN_AFTER + 600)
    times = desk.dialled("memory:9")
    assert pauses(times)[:4] == [0.5, 1.0, 2.0, 4.0]
    assert max(pauses(times)) == LONGEST_GOSSIP_RETRY
    assert FORGOTTEN_AFTER - LONGEST_GOSSIP_RETRY < times[-1] < FORGOTTEN_AFTER + 1
    assert desk.greeter.silent == ("memory:2",)


def test_a_forgotten_address_that_is_reported_again_is_dialled_as_a_new_one() -> None:
    desk = Desk()
    desk.hear(info("bob", "memory:3"), info("ghost", "memory:9"))
    desk.wait(FORGOTTEN_AFTER + 600)
    before = len(desk.dialled("memory:9"))
    desk.hear(info("bob", "memory:3"), info("ghost", "memory:9"))
    desk.wait(10)
    assert pauses(desk.dialled("memory:9")[before:]) == [0.5, 1.0, 2.0, 4.0]


def test_an_address_that_the_user_gave_is_always_dialled() -> None:
    desk = Desk("memory:2")
    desk.wait(FORGOTTEN_AFTER + 600)
    times = desk.dialled("memory:2")
    assert max(pauses(times)) == LONGEST_RETRY
    assert times[-1] > desk.now - LONGEST_RETRY - 1


def test_an_address_without_an_answer_is_logged_once_after_some_seconds(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk("memory:2")
    desk.wait(3)
    assert not caplog.messages
    desk.wait(60)
    assert caplog.messages == ["no answer yet, trying again: connection refused"]


def test_a_peer_that_answers_slowly_is_not_greeted_more_often() -> None:
    desk = Desk("memory:2")
    desk.unreachable = False
    desk.wait(4 * LONGEST_RETRY)
    assert pauses(desk.dialled("memory:2")) == [LONGEST_RETRY] * 3


def test_a_peer_that_refuses_is_greeted_again_soon() -> None:
    desk = Desk("memory:3")
    desk.unreachable = False
    desk.wait(0.5)
    desk.refuse(info("bob", "memory:3"))
    desk.wait(0.5)
    assert len(desk.dialled("memory:3")) == 2


def test_a_lost_peer_is_greeted_again_at_once() -> None:
    desk = Desk("memory:3")
    desk.unreachable = False
    desk.wait(0.5)
    desk.hear(info("bob", "memory:3"))
    desk.greeter.roster.lose("memory:3")
    desk.wait(0.5)
    assert pauses(desk.dialled("memory:3")) == [0.0, 0.5]


def test_an_answer_tells_only_of_those_that_the_greeting_did_not_name() -> None:
    desk = Desk()
    bob, cyd, dan = info("bob", "memory:3"), info("cyd", "memory:4"), info("dan", "memory:5")
    desk.hear(bob)
    desk.hear(cyd)
    desk.hear(dan, bob)
    assert desk.told_to("memory:5") == ["me", "cyd"]


def test_a_lost_peer_of_the_session_is_always_dialled() -> None:
    desk = Desk()
    desk.hear(info("bob", "memory:3"), info("cyd", "memory:4"))
    desk.hear(info("cyd", "memory:4"))
    desk.greeter.roster.lose("memory:4")
    desk.wait(FORGOTTEN_AFTER + 600)
    assert desk.dialled("memory:4")[-1] > desk.now - LONGEST_RETRY - 1


def test_a_second_report_does_not_extend_the_time_of_an_unreachable_peer() -> None:
    desk = Desk()
    for _ in range(4):
        desk.hear(info("bob", "memory:3"), info("ghost", "memory:9"))
        desk.wait(FORGOTTEN_AFTER / 4 - 1)
    desk.wait(600)
    assert desk.dialled("memory:9")[-1] < FORGOTTEN_AFTER + 1


def test_only_peers_that_have_sent_a_message_are_reported_to_others_and_for_a_limited_time() -> None:
    desk = Desk()
    desk.hear(info("bob", "memory:3"), info("ghost", "memory:9"), info("entry", "memory:8", session="other"))
    desk.hear(info("ann", "memory:5", session="other"))
    desk.hear(info("cyd", "memory:4"))
    assert desk.told_to("memory:4") == ["me", "bob", "ann"]
    desk.wait(FORGOTTEN_AFTER + 1)
    desk.hear(info("dan", "memory:6"))
    assert desk.told_to("memory:6") == ["me", "bob", "cyd"]


def test_a_peer_that_reports_many_addresses_blocks_others_for_a_limited_time_only() -> None:
    desk = Desk()
    desk.hear(info("bob", "memory:3"), *(info(f"x{number}", f"memory:{100 + number}") for number in range(MOST)))
    desk.hear(info("bob", "memory:3"), info("late", "memory:4"))
    desk.wait(1)
    assert not desk.dialled("memory:4")
    desk.now += FORGOTTEN_AFTER
    desk.wait(1)
    desk.hear(info("bob", "memory:3"), info("late", "memory:4"))
    desk.wait(1)
    assert desk.dialled("memory:4")


@pytest.mark.parametrize(("own", "dialled"), [("127.0.0.1:7000", False), ("10.0.0.1:7000", True), ("memory:1", True)])
def test_a_peer_that_listens_on_this_machine_only_does_not_dial_other_machines(own: str, dialled: bool) -> None:
    desk = Desk("10.0.0.8:7000", address=own)
    desk.hear(info("bob", "127.0.0.1:7001"), info("far", "10.0.0.9:7000"), info("near", "127.0.0.1:7002"))
    desk.wait(1)
    assert bool(desk.dialled("10.0.0.8:7000")) is bool(desk.dialled("10.0.0.9:7000")) is dialled
    assert desk.dialled("127.0.0.1:7002")


def test_a_peer_that_has_sent_a_message_is_not_missing() -> None:
    desk = Desk("memory:2", members=("me", "ann", "bob", "cyd", "dan"))
    desk.hear(info("ann", "memory:5", session="other"))
    desk.hear(info("bob", "memory:3"))
    desk.refuse(info("cyd", "memory:4"))
    desk.wait(0.5)
    assert desk.greeter.whereabouts(["bob"]) == (
        "; peers of other sessions: ann (session other); no answer from memory:2; missing: dan"
    )
    desk.greeter.roster.lose("memory:3")
    assert desk.greeter.whereabouts([]).endswith("(set advertise on that peer): bob at memory:3; missing: dan")
    desk.greeter.roster.leave("bob")
    assert desk.greeter.whereabouts([]).endswith("; left: bob; missing: dan")


def test_a_long_list_of_peers_is_shortened() -> None:
    desk = Desk(members=[f"peer-{number:03}" for number in range(100)])
    assert desk.greeter.whereabouts([]).endswith("peer-008, peer-009 and 90 more")


def test_a_refusal_counts_until_that_peer_is_met() -> None:
    desk = Desk()
    desk.refuse(info("bob", "memory:3"))
    desk.refuse(info("cyd", "memory:4"))
    assert "bob at memory:3 refused this peer: no" in desk.greeter.refusal
    desk.hear(info("bob", "memory:3"))
    assert "bob" in desk.greeter.refusal, "it only asks; whether it has changed its mind is not known yet"
    envelope = Envelope("s", "bob", "bob1", "memory:3", None)
    desk.greeter.greeted(envelope, Hello(info("bob", "memory:3"), (), (), None, wants_reply=False), None, 1.0)
    assert desk.greeter.refusal == "cyd at memory:4 refused this peer: no"


def test_a_refused_peer_can_return_with_a_compatible_model() -> None:
    desk = Desk()
    odd = PeerInfo(name="bob", incarnation="b1", address="memory:3", session="s", fingerprint="another model")
    desk.hear(odd)
    assert "train different models" in desk.greeter.refusal
    desk.hear(info("bob", "memory:3"))
    assert desk.greeter.refusal == ""


@pytest.mark.parametrize("about_name", [True, False])
def test_a_field_marks_a_refusal_about_the_name(about_name: bool) -> None:
    desk = Desk()
    reason = (
        "in other words" if about_name else "the name 'me' is in use by the peer at memory:3, which was there first"
    )
    refusal = Refuse(reason, final=True, about_name=about_name)
    meeting = desk.greeter.refused(Envelope("s", "ada", "ada1", "memory:2", refusal), refusal, 0.0, 10.0)
    assert meeting == (NameTaken(reason) if about_name else TurnedAway("ada"))
    assert bool(desk.greeter.name_taken) is about_name


def test_a_peer_that_is_refused_several_times_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    odd = PeerInfo(name="bob", incarnation="b1", address="memory:3", session="s", fingerprint="another model")
    for _ in range(3):
        desk.hear(odd)
    assert len([message for _, _, message in desk.sent if isinstance(message, Refuse)]) == 3
    assert len([record for record in caplog.records if "refused bob at memory:3" in record.getMessage()]) == 1


def test_a_reported_peer_that_was_met_and_has_left_is_not_dialled() -> None:
    desk = Desk()
    desk.hear(info("bob", "memory:3"), info("cyd", "memory:4"))
    desk.hear(info("cyd", "memory:4"))
    desk.greeter.roster.leave("cyd")
    desk.sent.clear()
    desk.wait(60)
    assert not desk.dialled("memory:4")


def test_names_are_those_of_peers_of_this_session() -> None:
    desk = Desk()
    desk.hear(info("bob", "memory:3"), info("ghost", "memory:9"), info("entry", "memory:8", session="other"))
    desk.hear(info("ann", "memory:5", session="other"))
    assert desk.greeter.names == {"bob", "ghost"}

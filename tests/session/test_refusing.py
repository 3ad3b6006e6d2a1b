"""Peers that refuse one another: whose refusal counts, and for how long."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from swarm.messages import Envelope, Hello, Refuse
from swarm.peer.greeter import NameTaken, TurnedAway
from swarm.peer.refusals import PROBATION
from swarm.records import PeerInfo
from swarm.text import MAX_LINE
from tests.session.desk import Desk, credential, info


def test_a_refusal_counts_until_that_peer_is_met() -> None:
    desk = Desk("memory:3", "memory:4")
    desk.unreachable = False
    desk.wait(0.5)
    desk.refuse(info("bob", "memory:3"))
    desk.refuse(info("cyd", "memory:4"))
    assert "bob at memory:3 refused this peer: no" in desk.greeter.refusal
    desk.hear(info("bob", "memory:3"))
    assert "bob" in desk.greeter.refusal, "it only asks; whether it has changed its mind is not known yet"
    envelope = Envelope("s", "bob", "bob1", "memory:3", None)
    hello = Hello(info("bob", "memory:3"), (), (), None, wants_reply=False, credential=credential("bob"))
    desk.greeter.greeted(envelope, hello, None, 1.0)
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
    desk = Desk("memory:2")
    desk.unreachable = False
    desk.wait(0.5)
    reason = (
        "in other words" if about_name else "the name 'me' is in use by the peer at memory:3, which was there first"
    )
    refusal = Refuse(reason, final=True, about_name=about_name)
    meeting = desk.greeter.refused(Envelope("s", "ada", "ada1", "memory:2", refusal), refusal, None, desk.now, 10.0)
    assert meeting == (NameTaken(f"{reason} (as ada at memory:2 says)") if about_name else TurnedAway("ada"))
    assert bool(desk.greeter.name_taken) is about_name


def test_a_peer_that_is_refused_several_times_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    odd = PeerInfo(name="bob", incarnation="b1", address="memory:3", session="s", fingerprint="another model")
    for _ in range(3):
        desk.hear(odd)
    assert len([message for _, _, message in desk.sent if isinstance(message, Refuse)]) == 3
    assert len([record for record in caplog.records if "refused bob at memory:3" in record.getMessage()]) == 1


def refusal_of(desk: Desk, name: str, address: str, *, about_name: bool = False) -> object:
    refusal = Refuse("no", final=True, about_name=about_name)
    return desk.greeter.refused(Envelope("s", name, f"{name}1", address, refusal), refusal, None, desk.now, 10.0)


def named_desk(*others: str) -> Desk:
    """Of a peer whose name is proven, as are those of ``others``, whom it has greeted."""
    desk = Desk(*(f"{name}@memory:{name}" for name in others), address="me@memory:1")
    desk.unreachable = False
    desk.wait(0.5)
    return desk


def test_where_names_are_proven_nobody_else_tells_that_a_name_is_in_use() -> None:
    desk = named_desk("ada", "bob")
    for _ in range(2):
        assert refusal_of(desk, "ada", "ada@memory:ada", about_name=True) == TurnedAway("ada")
        desk.wait(60.0)
    assert not desk.greeter.name_taken
    assert desk.greeter.refusal == "ada at ada@memory:ada refused this peer: no"
    desk.hear(info("bob", "bob@memory:bob"))
    assert [peer.name for peer in desk.greeter.roster.live()] == ["bob"]


def test_where_names_are_proven_another_process_of_this_peer_tells_that_its_name_is_in_use() -> None:
    desk = named_desk("me")
    refusal = Refuse("the name is in use", final=True, about_name=True)
    told = desk.greeter.refused(Envelope("s", "me", "me0", "me@memory:me", refusal), refusal, None, desk.now, 10.0)
    assert told == NameTaken("the name is in use (as me at me@memory:me says)")


def test_a_refusal_does_not_shorten_the_patience_with_others() -> None:
    desk = Desk("memory:2", "memory:3")
    desk.unreachable = False
    desk.wait(0.5)
    desk.refuse(info("liar", "memory:2"))
    desk.wait(20.0)
    for waited, lasting in ((0.0, False), (9.5, False), (0.5, True)):
        desk.wait(waited)
        refusal = Refuse("no", final=False)
        envelope = Envelope("s", "bob", "bob1", "memory:3", refusal)
        assert (desk.greeter.refused(envelope, refusal, None, desk.now, 10.0) is not None) is lasting


def test_forged_refusals_from_addresses_that_were_not_greeted_end_nothing() -> None:
    desk = Desk("memory:2")
    desk.unreachable = False
    desk.wait(0.5)
    for _ in range(3):
        assert [refusal_of(desk, name, f"memory:{name}", about_name=True) for name in ("x", "y", "z")] == [None] * 3
    assert not desk.greeter.refusal
    assert [len(desk.dialled(f"memory:{name}")) for name in ("x", "y", "z")] == [1, 1, 1], "is anybody there?"


def test_forged_refusals_do_not_count_later_if_nobody_is_at_their_addresses() -> None:
    desk = Desk()
    for _ in range(4):
        assert refusal_of(desk, "x", "memory:9") is None
        desk.greeter.unanswered("memory:9", "connection refused")
        desk.wait(PROBATION - 1)
    assert not desk.greeter.refusal


def test_a_peer_that_gives_another_address_than_the_one_that_was_greeted_may_refuse() -> None:
    desk = Desk("alias:2")
    desk.unreachable = False
    desk.wait(0.5)
    assert refusal_of(desk, "bob", "memory:2") is None
    desk.wait(PROBATION)
    assert refusal_of(desk, "bob", "memory:2") == TurnedAway("bob")
    assert "bob at memory:2 refused this peer" in desk.greeter.refusal


def test_a_peer_without_a_key_of_its_own_is_refused() -> None:
    desk = Desk()
    for given in (None, credential("cyd")):
        hello = Hello(info("bob", "memory:3"), (), (), None, wants_reply=True, credential=given)
        desk.greeter.greeted(Envelope("s", "bob", "bob1", "memory:3", hello), hello, None, desk.now)
        assert desk.sent[-1][2] == Refuse("bob gave no key of its own to sign with", final=True)
    assert not desk.greeter.roster.live()


def test_a_peer_whose_key_is_not_its_own_is_refused() -> None:
    desk = Desk()
    desk.doubt = "the certificate is that of cyd"
    desk.hear(info("bob", "memory:3"))
    reason = "the key of bob is not its own: the certificate is that of cyd"
    assert desk.sent[-1][2] == Refuse(reason, final=True)
    assert not desk.greeter.roster.live()
    desk.doubt = ""
    desk.hear(info("bob", "memory:3"))
    assert [peer.name for peer in desk.greeter.roster.live()] == ["bob"]


def test_a_greeting_has_the_key_of_its_peer() -> None:
    desk = Desk("memory:3")
    desk.wait(0.5)
    (hello,) = [message for _, _, message in desk.sent if isinstance(message, Hello)]
    assert hello.credential == credential("me")


def test_an_address_has_one_vote() -> None:
    desk = Desk("memory:2")
    desk.unreachable = False
    desk.wait(0.5)
    assert refusal_of(desk, "bob", "memory:2") == TurnedAway("bob")
    assert [refusal_of(desk, name, "memory:2") for name in ("x", "y")] == [None, None]
    odd = PeerInfo(name="z", incarnation="z1", address="memory:2", session="s", fingerprint="another model")
    greeting = Hello(odd, (), (), None, wants_reply=True)
    assert desk.greeter.greeted(Envelope("s", "z", "z1", "memory:2", greeting), greeting, None, desk.now) is None
    assert isinstance(desk.sent[-1][2], Refuse), "it is refused all the same"


def test_nobody_refuses_from_the_address_of_a_live_peer() -> None:
    desk = Desk()
    desk.hear(info("bob", "memory:3"))
    assert refusal_of(desk, "x", "memory:3") is None
    assert not desk.greeter.refusal


def test_a_second_peer_at_the_address_of_a_live_one_is_refused_for_now() -> None:
    desk = Desk()
    desk.hear(info("bob", "memory:3"))
    desk.hear(info("cyd", "memory:3"))
    refusal = desk.sent[-1][2]
    assert refusal == Refuse("bob is at memory:3, the address that cyd gives", final=False)
    desk.greeter.roster.lose("memory:3")
    desk.hear(info("cyd", "memory:3"))
    assert [peer.name for peer in desk.greeter.roster.live()] == ["cyd"]


def test_a_peer_that_has_refused_has_answered() -> None:
    desk = Desk("memory:2")
    desk.unreachable = False
    desk.wait(0.5)
    assert desk.greeter.silent == ("memory:2",)
    refusal_of(desk, "bob", "memory:2")
    assert desk.greeter.silent == ()


def test_hostile_greetings_leave_short_and_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    desk = Desk()
    for number in range(100):
        odd = (("share", f"{number}{'x' * 4000}"), *((f"s{key}", "y" * 4096) for key in range(63)))
        desk.hear(replace(info("bob", "memory:3"), incarnation=f"b{number}", settings=odd))
    assert len(caplog.messages) == 1
    assert len(caplog.messages[0]) <= MAX_LINE


def test_nobody_takes_the_messages_of_a_live_peer_by_giving_another_address() -> None:
    desk = Desk()
    desk.hear(info("bob", "memory:3"))
    desk.hear(info("bob", "memory:9"))
    assert "the name 'bob' is in use by the live peer at memory:3" in desk.sent[-1][2].reason
    assert desk.greeter.roster.info("bob").address == "memory:3"


def test_an_address_with_a_name_and_one_without_are_one() -> None:
    desk = Desk("memory:2", "memory:3")
    desk.unreachable = False
    desk.wait(0.5)
    assert refusal_of(desk, "bob", "bob@memory:2") == TurnedAway("bob")
    assert desk.greeter.silent == ("memory:3",)
    assert refusal_of(desk, "x", "x@memory:2") is None
    desk.hear(info("cyd", "cyd@memory:3"))
    assert desk.greeter.silent == ()
    desk.hear(info("x", "x@memory:3"))
    assert "cyd is at x@memory:3" in desk.sent[-1][2].reason

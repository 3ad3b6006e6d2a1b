"""The addresses that a peer dials, how often and for how long, and the peers that it tells others of."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from swarm.messages import MAX_PEERS, MAX_ROSTER
from swarm.peer.gossip import FORGOTTEN_AFTER, MOST, MOST_REPORTED
from swarm.peer.greeter import LONGEST_GOSSIP_RETRY, LONGEST_RETRY, MOST_AT_ONCE
from swarm.records import PeerInfo
from tests.session.desk import Desk, info


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


def test_a_peer_that_reports_many_addresses_keeps_nobody_out() -> None:
    desk = Desk()
    desk.hear(info("ann", "memory:2"), info("early", "memory:4"))
    desk.hear(info("bob", "memory:3"), *(info(f"x{number}", f"memory:{100 + number}") for number in range(MOST)))
    desk.hear(info("bob", "memory:3"), info("late", "memory:5"))
    desk.wait(1)
    assert desk.dialled("memory:4"), "another peer reported it"
    assert desk.dialled("memory:5"), "the oldest report of the same peer makes room"
    reported = {name for name in desk.greeter.names if name.startswith("x")}
    assert reported == {f"x{number}" for number in range(MOST - MOST_REPORTED + 1, MOST)}


def test_many_peers_that_report_many_addresses_keep_nobody_out() -> None:
    desk = Desk()
    desk.hear(info("ann", "memory:2"), info("early", "memory:4"))
    for liar in range(MOST // MOST_REPORTED + 2):
        told = (
            info(f"x{liar}.{number}", f"memory:{liar}.{number}", session="other") for number in range(MOST_REPORTED)
        )
        desk.hear(info(f"liar{liar}", f"memory:liar{liar}", session="other"), *told)
    desk.wait(1)
    assert desk.dialled("memory:4")
    desk.hear(info("newcomer", "memory:5", session="other"))
    desk.hear(info("bob", "memory:3"))
    assert "newcomer" in desk.told_to("memory:3"), "it has sent a message itself"


def test_of_another_session_only_the_whereabouts_are_kept_and_told() -> None:
    desk = Desk()
    large = tuple((f"setting{number}", "x" * 4096) for number in range(64))
    desk.hear(replace(info("ann", "memory:2", session="other"), settings=large, weight=7, expects=9))
    desk.hear(info("bob", "memory:3"))
    (_, told) = desk.sent[-1][2].roster
    assert told == PeerInfo(name="ann", incarnation="ann1", address="memory:2", session="other")


def test_a_greeting_names_a_bounded_number_of_peers_those_of_the_session_first() -> None:
    desk = Desk()
    for number in range(MAX_ROSTER + 50):
        desk.hear(info(f"o{number:03}", f"memory:o{number}", session="other"))
    desk.hear(info("bob", "memory:3"))
    desk.hear(info("cyd", "memory:4"))
    told = desk.told_to("memory:4")
    assert len(told) == MAX_ROSTER
    assert told[:2] == ["me", "bob"]


@pytest.mark.parametrize(("own", "dialled"), [("127.0.0.1:7000", False), ("10.0.0.1:7000", True), ("memory:1", True)])
def test_a_peer_that_listens_on_this_machine_only_does_not_dial_other_machines(own: str, dialled: bool) -> None:
    desk = Desk("10.0.0.8:7000", address=own)
    desk.hear(info("bob", "127.0.0.1:7001"), info("far", "10.0.0.9:7000"), info("near", "127.0.0.1:7002"))
    desk.wait(1)
    assert bool(desk.dialled("10.0.0.8:7000")) is bool(desk.dialled("10.0.0.9:7000")) is dialled
    assert desk.dialled("127.0.0.1:7002")


def test_a_peer_that_has_sent_a_message_is_not_missing() -> None:
    desk = Desk("memory:2", "memory:4", members=("me", "ann", "bob", "cyd", "dan"))
    desk.unreachable = False
    desk.wait(0.5)
    desk.hear(info("ann", "memory:5", session="other"))
    desk.hear(info("bob", "memory:3"))
    desk.refuse(info("cyd", "memory:4"))
    desk.wait(0.5)
    assert desk.greeter.whereabouts(["bob"]) == (
        "; peers of other sessions (to train with them, set the same --model-name, here s): ann (session other)"
        "; no answer from memory:2; missing: dan"
    )
    desk.greeter.roster.lose("memory:3")
    assert desk.greeter.whereabouts([]).endswith("(set advertise on that peer): bob at memory:3; missing: dan")
    desk.greeter.roster.leave("bob")
    assert desk.greeter.whereabouts([]).endswith("; left: bob; missing: dan")


def test_a_long_list_of_peers_is_shortened() -> None:
    desk = Desk(members=[f"peer-{number:03}" for number in range(100)])
    assert desk.greeter.whereabouts([]).endswith("peer-008, peer-009 and 90 more")


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


def test_a_session_has_a_bounded_number_of_peers_and_those_that_are_gone_make_room() -> None:
    desk = Desk()
    for number in range(MAX_PEERS + 10):
        desk.hear(info(f"p{number}", f"memory:p{number}"))
    assert len(desk.greeter.roster.live()) == MAX_PEERS - 1
    assert "which is the most" in desk.sent[-1][2].reason
    desk.greeter.roster.lose("memory:p5")
    desk.hear(info("newcomer", "memory:new"))
    assert "newcomer" in {peer.name for peer in desk.greeter.roster.live()}


def test_many_addresses_are_greeted_one_after_the_other_in_the_order_in_which_they_are_due() -> None:
    addresses = [f"memory:{number:04}" for number in range(10, 10 + 4 * MOST_AT_ONCE)]
    desk = Desk(*addresses)
    desk.wait(0.5)
    assert len(desk.sent) == MOST_AT_ONCE
    desk.wait(60)
    counts = [len(desk.dialled(address)) for address in addresses]
    assert len(desk.sent) <= 121 * MOST_AT_ONCE
    assert max(counts) - min(counts) <= 2
    assert min(counts) > 60 / LONGEST_RETRY / 2


def test_an_address_that_is_found_no_more_is_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    for number in range(100, 120):
        desk.places.addresses = (f"memory:{number}",)
        desk.wait(10)
    assert len(desk.greeter._reported) == 1
    assert len(caplog.messages) == 20

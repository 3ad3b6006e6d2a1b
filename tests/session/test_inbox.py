"""How many messages wait for the worker."""

from __future__ import annotations

from swarm.messages import MAX_TENSORS, Envelope, Hello, Leave, TensorLine
from swarm.peer.inbox import MOST, MOST_OF_ONE, Inbox
from swarm.records import PeerInfo


def small(address: str) -> Envelope:
    return Envelope("s", "p", "i", address, Leave("x"))


def greeting(address: str, tensors: int) -> Envelope:
    info = PeerInfo(name="p", incarnation="i", address=address, session="s")
    lines = (TensorLine("w", (), "float32", "weight"),) * tensors
    return Envelope("s", "p", "i", address, Hello(info, lines, (), None, wants_reply=True))


def test_one_sender_has_a_share_and_gets_it_back() -> None:
    inbox = Inbox()
    taken = [inbox.enter(small("a")) for _ in range(MOST_OF_ONE + 5)]
    assert taken == [True] * MOST_OF_ONE + [False] * 5
    assert inbox.enter(small("b"))
    assert [inbox.leave(small("a")), inbox.leave(small("a"))] == [5, 0]
    assert [inbox.enter(small("a")) for _ in range(3)] == [True, True, False]


def test_large_greetings_count_for_more() -> None:
    inbox = Inbox()
    assert inbox.enter(greeting("a", MAX_TENSORS))
    assert not inbox.enter(greeting("a", MAX_TENSORS))
    assert inbox.leave(greeting("a", MAX_TENSORS)) == 1
    assert [inbox.enter(greeting("a", 100)) for _ in range(MOST_OF_ONE)] == [True] * MOST_OF_ONE


def test_all_senders_together_have_a_bound_whatever_their_addresses() -> None:
    inbox = Inbox()
    taken = [inbox.enter(small(f"a{number}")) for number in range(MOST + 5)]
    assert taken == [True] * MOST + [False] * 5
    assert [inbox.leave(small(f"a{number}")) for number in range(MOST)] == [0] * MOST
    assert inbox.enter(small("new"))


def test_a_sender_whose_name_is_verified_is_one_under_any_address() -> None:
    inbox = Inbox(identified=True)
    taken = [inbox.enter(small(f"a{number}")) for number in range(MOST_OF_ONE + 5)]
    assert taken == [True] * MOST_OF_ONE + [False] * 5
    assert inbox.leave(small("another")) == 5

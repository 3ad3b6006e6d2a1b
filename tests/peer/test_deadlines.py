"""When a transfer gives a peer up: deadlines in seconds, without streams."""

from __future__ import annotations

import pytest

from swarm.exchange.owed import Owed
from swarm.peer.deadlines import SLOWER, TIMEOUTS, USEFUL, Deadlines

TIMEOUT = 10.0
PEERS = ("bob", "cyd", "dee")
RATE = USEFUL / len(PEERS)
"""Of one of three links over one line."""


def owed(*peers: str, turn: int = 1) -> Owed:
    return Owed("its contribution", turn, dict.fromkeys(peers, 4_000_000))


def deadlines(*, enough: int = 2, nbytes: int = 10_000_000) -> Deadlines:
    return Deadlines(PEERS, enough, nbytes, 0.0)


def given_up(
    made: Deadlines, what: Owed, *, until: float, step: float = 0.5, moves: object = None
) -> tuple[str, float]:
    """Who is given up, and when; looked at every ``step`` seconds, after ``moves(now)``."""
    for tick in range(int(until / step) + 1):
        now = tick * step
        if callable(moves):
            moves(now)
        late = made.late(now, TIMEOUT, what)
        if late:
            return late[0], now
    return "", until


def test_silence_ends_at_the_time_out() -> None:
    assert given_up(deadlines(), owed(*PEERS), until=60) == ("bob", TIMEOUT + 0.5)


@pytest.mark.parametrize("took", [1.0, 4.0, 60.0])
def test_one_that_trickles_is_given_up_soon_after_the_others_are_done(took: float) -> None:
    made = deadlines(nbytes=10**9)

    def trickle(now: float) -> None:
        made.heard("dee", now, part=int(now))
        for peer in PEERS[:2]:
            made.moved(peer, 1000, now)

    assert given_up(made, owed(*PEERS), until=took - 0.5, moves=trickle) == ("", took - 0.5)
    for tick in range(1000):
        now = took + tick * 0.5
        trickle(now)
        late = made.late(now, TIMEOUT, owed("dee"))
        if late:
            break
    assert late is not None
    assert late[0] == "dee"
    assert now == took + max(TIMEOUT, SLOWER * took) + 0.5
    assert f"dee is too slow: 4.0 MB of its contribution are missing {now - took:.0f} s after" in late[1]


def test_one_that_moves_at_a_useful_rate_is_waited_for_and_no_longer_once_it_stops() -> None:
    made = deadlines(nbytes=10**9)

    def slowly(now: float) -> None:
        made.heard("dee", now, part=int(1.1 * RATE * min(now, 300.0)))

    assert given_up(made, owed("dee"), until=300, moves=slowly) == ("", 300)
    peer, when = given_up(made, owed("dee"), until=600, moves=slowly)
    assert peer == "dee"
    assert when == pytest.approx(330, abs=1)  # what had come would have taken so long


def test_two_that_trickle_together_do_not_shield_each_other() -> None:
    names = ("bob", "cyd", "dee", "eve")
    made = Deadlines(names, 2, 10_000_000, 0.0)

    def trickle(now: float) -> None:
        for peer in names:
            made.heard(peer, now)

    assert given_up(made, owed("dee", "eve"), until=60, moves=trickle) == ("dee", TIMEOUT + 0.5)


def test_a_transfer_that_all_hold_up_ends_after_the_time_of_its_bytes() -> None:
    made = deadlines(nbytes=25_000_000)

    def trickle(now: float) -> None:
        for peer in PEERS:
            made.heard(peer, now)

    peer, when = given_up(made, owed(*PEERS), until=600, moves=trickle)
    assert (peer, when) == ("bob", TIMEOUTS * TIMEOUT + 100 + 0.5)
    late = made.late(when, TIMEOUT, owed(*PEERS))
    assert late is not None
    assert (
        late[1] == "bob is too slow: 4.0 MB of its contribution are missing after 130 s, the longest that it may take"
    )


def test_slow_links_of_all_are_no_reason_to_give_up() -> None:
    made = deadlines(nbytes=25_000_000)

    def slowly(now: float) -> None:
        for peer in PEERS:
            made.heard(peer, now)

    assert given_up(made, owed(*PEERS), until=100, moves=slowly) == ("", 100)


def test_of_two_that_are_late_the_one_that_is_late_for_longer_is_named() -> None:
    made = deadlines()
    made.heard("bob", 5.0)
    late = made.late(30.0, TIMEOUT, owed("bob", "dee"))
    assert late is not None
    assert late[0] == "dee"


def test_who_may_be_waiting_for_somebody_else_has_more_time() -> None:
    """A member whose contribution is missing elsewhere is blamed there first."""
    first, then = deadlines(), deadlines()
    then.late(0.0, TIMEOUT, owed("bob", turn=2))
    assert given_up(first, owed("bob"), until=90)[1] < given_up(then, owed("bob", turn=2), until=90)[1] - TIMEOUT / 2


def test_the_time_of_a_later_turn_begins_with_it() -> None:
    made = deadlines()
    for tick in range(160):
        made.heard("dee", tick * 0.5)
        made.late(tick * 0.5, 1000.0, owed("dee"))  # 80 seconds for the contributions
    assert made.late(80.0, TIMEOUT, owed(*PEERS, turn=2)) is None
    assert made.late(80.0 + 2 * TIMEOUT + 1, TIMEOUT, owed(*PEERS, turn=2)) is None


def test_one_that_is_held_up_here_is_not_late_and_counts_as_done() -> None:
    made = deadlines()
    for tick in range(100):
        late = made.late(tick * 0.5, TIMEOUT, owed(*PEERS), held=("bob", "cyd"))
        made.heard("dee", tick * 0.5)
        if late:
            break
    assert late is not None
    assert late[0] == "dee"
    assert tick * 0.5 == TIMEOUT + 0.5

"""Lines about what other peers send."""

from __future__ import annotations

import logging

import pytest

from swarm.clock import ManualClock
from swarm.peer.limited_log import MOST, PAUSE, LimitedLog
from swarm.text import MAX_LINE


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture
def log(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> LimitedLog:
    caplog.set_level(logging.INFO)
    return LimitedLog(logging.getLogger("swarm.test"), clock)


def test_one_line_a_minute_for_each_peer_and_kind(log, clock, caplog) -> None:
    for second in range(120):
        for peer in ("ann", "bob"):
            for kind in ("joined", "gone"):
                log.log(logging.INFO, peer, kind, f"{peer} {kind} {second}")
        clock.advance(1)
    assert caplog.messages == [
        *(f"{peer} {kind} 0" for peer in ("ann", "bob") for kind in ("joined", "gone")),
        *(
            f"{peer} {kind} 60 (59 more such lines were left out)"
            for peer in ("ann", "bob")
            for kind in ("joined", "gone")
        ),
    ]


def test_the_same_text_may_wait_longer(log, clock, caplog) -> None:
    for text in ("one", "one", "two"):
        log.log(logging.INFO, "ann", "refused", text, again=3 * PAUSE)
        clock.advance(PAUSE)
    assert caplog.messages == ["one", "two (1 more such lines were left out)"]
    clock.advance(3 * PAUSE)
    log.log(logging.INFO, "ann", "refused", "two", again=3 * PAUSE)
    assert caplog.messages[2:] == ["two"]


def test_a_kind_may_have_several_lines_a_minute(log, clock, caplog) -> None:
    for number in range(5):
        log.log(logging.INFO, "ann", "abort", str(number), most=3)
    clock.advance(PAUSE)
    for number in range(5, 10):
        log.log(logging.INFO, "ann", "abort", str(number), most=3)
    assert caplog.messages == ["0", "1", "2", "5 (2 more such lines were left out)", "6", "7"]


def test_invented_names_do_not_fill_the_log_and_are_forgotten(log, clock, caplog) -> None:
    for number in range(3 * MOST):
        name = f"x{number}"
        log.log(logging.INFO, name, "joined", "x")
    assert len(caplog.messages) == MOST
    clock.advance(PAUSE)
    log.log(logging.INFO, "ann", "joined", "ann joined")
    assert caplog.messages[-1] == "ann joined"


@pytest.mark.parametrize("text", ["\x1b[2J\nforged line\u202e" * 1000, "x" * 10**6, "\udcff" * 10**5])
def test_a_line_is_short_and_printable(log, caplog, text) -> None:
    log.log(logging.INFO, "ann", "refused", text)
    (line,) = caplog.messages
    assert line.isprintable()
    assert len(line) == MAX_LINE + 1


def test_a_line_that_nobody_sees_takes_no_place(log, caplog) -> None:
    log.log(logging.DEBUG, "ann", "stray", "a")
    caplog.set_level(logging.DEBUG)
    log.log(logging.DEBUG, "ann", "stray", "b")
    assert caplog.messages == ["b"]

"""The limit of what a peer sends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from swarm.clock import ManualClock
from swarm.config.rates import Rate
from swarm.errors import ExchangeError
from swarm.testing.nodes import DEADLINE, Node
from swarm.transport.data_channel import DataChannelTransport
from swarm.transport.grpc import GrpcTransport
from swarm.transport.pacing import PART_BYTES, Pacing


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("20", Rate(20.0)),
        (" 2.5 ", Rate(2.5)),
        ("20@07:00-19:00", Rate(20.0, 420, 1140)),
        ("4@22:30-06:15", Rate(4.0, 1350, 375)),
        ("4@00:00-24:00", None),
        ("20@7-19", None),
        ("20@07:60-19:00", None),
        ("20@07:00-25:00", None),
        ("20@07:00-07:00", None),
        ("1.9", None),
        ("2000000", None),
        ("-3", None),
        ("", None),
    ],
)
def test_a_limit_is_a_number_with_or_without_times(text: str, rate: Rate | None) -> None:
    if rate is None:
        with pytest.raises(ValueError):  # noqa: PT011 - the setting says what is allowed
            Rate.parse(text)
    else:
        assert Rate.parse(text) == rate
        assert Rate.parse(str(rate)) == rate


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("8", {0, 419, 420, 1139, 1140}), ("8@07:00-19:00", {420, 1139}), ("8@19:00-07:00", {0, 419, 1140})],
)
def test_it_holds_between_its_times_also_past_midnight(text: str, minutes: set[int]) -> None:
    assert {minute for minute in (0, 419, 420, 1139, 1140) if Rate.parse(text).holds(minute)} == minutes


class Slept:
    """A clock on which sleeping takes no time of anybody."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.seconds = 0.0
        self._lock = threading.Lock()

    def __call__(self, seconds: float, cancelled: threading.Event) -> None:
        with self._lock:
            self.seconds += seconds
            self.clock.advance(seconds)


def pacing(*texts: str, slept: Slept, minute: Callable[[], int] = lambda: 600) -> Pacing:
    return Pacing([Rate.parse(text) for text in texts], clock=slept.clock, minute=minute, sleep=slept)


def test_parts_go_no_faster_than_the_limit() -> None:
    slept = Slept()
    data = [bytes(10 * PART_BYTES), memoryview(bytearray(5))]
    parts = [*pacing("8", slept=slept).parts(data)]
    assert b"".join(parts) == b"".join(data)
    assert max(map(len, parts)) == PART_BYTES
    assert slept.seconds == pytest.approx(10 * PART_BYTES / 1e6), "8 Mbit/s are a megabyte; the last part goes at once"


def test_streams_share_the_limit() -> None:
    slept = Slept()
    limit = pacing("8", slept=slept)
    streams: list[Iterator[memoryview]] = [limit.parts([bytes(5 * PART_BYTES)]) for _ in range(4)]
    for _ in range(5):
        for stream in streams:
            next(stream)
    assert slept.seconds == pytest.approx(19 * PART_BYTES / 1e6)


def test_the_first_limit_that_holds_counts_and_none_is_none() -> None:
    slept = Slept()
    now = [600]
    limit = pacing("8@07:00-19:00", "80@19:00-22:00", slept=slept, minute=lambda: now[0])
    for minute, seconds in ((600, 1.0), (1200, 0.1), (0, 0.0)):
        now[0], slept.seconds = minute, 0.0
        slept.clock.advance(100.0)
        for _ in limit.parts([bytes(1_000_000)]):
            pass
        assert slept.seconds == pytest.approx(seconds, abs=0.07 * seconds)


def node(limit: Pacing | None, *, data_channel: bool) -> Node:
    control = GrpcTransport("127.0.0.1:0", pacing=limit)
    return Node(DataChannelTransport(control, "127.0.0.1") if data_channel else control)


@pytest.mark.parametrize("data_channel", [True, False])
def test_weights_arrive_whole_and_wait_for_the_limit_on_either_way(data_channel: bool) -> None:
    slept = Slept()
    sent = [bytes([number]) * 300_000 for number in range(4)]

    sender, receiver = (node(limit, data_channel=data_channel) for limit in (pacing("8", slept=slept), None))
    try:
        assert sender.upload(receiver.address, [[frame[:28], frame[28:]] for frame in sent]).wait() is None
        assert receiver.handler.streams[1] == sent
        assert slept.seconds >= (1_200_000 - PART_BYTES) / 1e6
    finally:
        sender.transport.close(0.0)
        receiver.transport.close(0.0)


def test_what_others_fetch_waits_for_the_limit_too() -> None:
    slept = Slept()
    server, client = Node(GrpcTransport("127.0.0.1:0", pacing=pacing("8", slept=slept))), Node(GrpcTransport())
    try:
        server.handler.served = lambda: [[bytes(600_000)]]
        assert sum(map(len, client.fetch(server.address))) == 600_000
        assert slept.seconds >= (600_000 - PART_BYTES) / 1e6
    finally:
        client.transport.close(0.0)
        server.transport.close(0.0)


@pytest.mark.parametrize("data_channel", [True, False])
def test_a_stream_that_is_cancelled_waits_no_longer_for_its_turn(data_channel: bool) -> None:
    asleep, woken = threading.Event(), []

    def sleep(seconds: float, cancelled: threading.Event) -> None:
        asleep.set()
        woken.append(cancelled.wait(DEADLINE))

    limit = Pacing([Rate.parse("2")], clock=ManualClock(), sleep=sleep)
    sender, receiver = (node(each, data_channel=data_channel) for each in (limit, None))
    try:
        outcome = sender.upload(receiver.address, [[bytes(28), bytes(300_000)]])
        assert asleep.wait(DEADLINE)
        outcome.upload.cancel()
        assert woken == [True], "cancel waits for who is asleep"
    finally:
        sender.transport.close(0.0)
        receiver.transport.close(0.0)


def test_who_is_cancelled_takes_no_turn() -> None:
    slept = Slept()
    limit, cancelled = pacing("8", slept=slept), threading.Event()
    cancelled.set()
    with pytest.raises(ExchangeError, match="cancelled"):
        next(limit.parts([bytes(PART_BYTES)], cancelled))
    next(limit.parts([bytes(PART_BYTES)]))
    assert slept.seconds == 0

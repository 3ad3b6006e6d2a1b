"""Frames that travel as several messages: they come out as they went in, whoever sends them."""

from __future__ import annotations

import pytest

from swarm.errors import ExchangeError
from swarm.testing.nodes import RecordingSink
from swarm.transport.base import HEAD_BYTES, MAX_FRAME_BYTES
from swarm.transport.grpc.parts import PART_BYTES, Joining, parts

SIZES = [0, 1, HEAD_BYTES, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 5 * PART_BYTES + 3]


def size_of(number):
    return number.to_bytes(4, "little")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cut", [0, 1, HEAD_BYTES, PART_BYTES, PART_BYTES + 1])
def test_a_frame_comes_out_as_it_went_in(size, cut):
    frame, sink = (b"P" * HEAD_BYTES + bytes(range(256)) * (size // 256 + 1))[:size], RecordingSink()
    joining, messages = Joining(sink), list(parts([frame[:cut], memoryview(frame)[cut:]]))
    for message in messages * 2:
        joining.take(message)
    joining.end()
    assert sink.taken == [frame, frame]
    assert all(len(message) <= PART_BYTES + 4 for message in messages)
    assert len(messages) == max(-(-size // PART_BYTES), 1)


def test_a_sink_hears_of_every_message_of_a_frame():
    sink = RecordingSink()
    joining = Joining(sink)
    for message in parts([bytes(HEAD_BYTES), bytes(3 * PART_BYTES)]):
        joining.take(message)
    assert sink.filled == [number * PART_BYTES - HEAD_BYTES for number in (1, 2, 3)]


def test_a_frame_beyond_the_limit_is_neither_cut_nor_awaited():
    with pytest.raises(ExchangeError, match=str(MAX_FRAME_BYTES)):
        list(parts([bytes(MAX_FRAME_BYTES), b"x"]))
    with pytest.raises(ExchangeError, match=str(MAX_FRAME_BYTES)):
        Joining(RecordingSink()).take(size_of(MAX_FRAME_BYTES + 1))


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([b"abc"], "cannot begin a frame"),
        ([size_of(3) + b"abcd"], "more than"),
        ([size_of(40) + b"P" * 5, b"P" * 35], "cannot begin a frame of 40 bytes"),
        ([size_of(100) + b"P" * 50, bytes(51)], "more than"),
        ([size_of(100) + b"P" * 99], "in the middle"),
        ([size_of(100) + b"R" * 50], "no room"),
    ],
)
def test_messages_that_make_no_frame_are_refused(messages, why):
    def take():
        joining = Joining(RecordingSink())
        for message in messages:
            joining.take(message)
        joining.end()

    with pytest.raises(ExchangeError, match=why):
        take()

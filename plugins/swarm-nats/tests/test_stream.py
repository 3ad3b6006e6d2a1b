"""The stream over a simulated network, with a clock of its own: nothing waits and nothing is left to chance."""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import TransportError
from swarm_nats.stream import ABSENT_SECONDS, HEADER, WINDOW, Kind, Stream, reset, unpacked

PATIENCE = 10.0
TICK = 0.05
SEGMENT = 1000


@dataclass(order=True)
class Flight:
    at: float
    number: int
    target: int = field(compare=False)
    packet: bytes = field(compare=False)


class Network:
    """Two ends, and packets on their way between them."""

    def __init__(self, seed: int = 1, *, loss: float = 0.0, repeated: float = 0.0, jitter: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.loss, self.repeated, self.jitter = loss, repeated, jitter
        self.now = 0.0
        self.cut = False
        self.ends = [self.stream(opens=True), self.stream(opens=False)]
        self.received = [bytearray(), bytearray()]
        self.takes = [True, True]
        self.sent: list[tuple[float, int, bytes]] = []
        self._flights: list[Flight] = []
        self._numbers = itertools.count()

    def stream(self, *, opens: bool) -> Stream:
        return Stream(opens=opens, patience=PATIENCE, segment=SEGMENT, now=self.now)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end, tick = self.now + seconds, self.now
        while self.now < end:
            self._send()
            upcoming = self._flights[0].at if self._flights else tick + TICK
            if upcoming < tick + TICK:
                self.now = max(self.now, upcoming)
                self._arrive(heapq.heappop(self._flights))
            else:
                self.now = tick = tick + TICK
                for each in self.ends:
                    each.tick(self.now)

    def _send(self) -> None:
        for number, each in enumerate(self.ends):
            while (packet := each.next_packet(self.now)) is not None:
                self.sent.append((self.now, number, packet))
                self._fly(1 - number, packet)

    def _fly(self, target: int, packet: bytes) -> None:
        copies = 0 if self.cut or self.random.random() < self.loss else 1 + (self.random.random() < self.repeated)
        for _ in range(copies):
            at = self.now + 0.01 + self.random.random() * self.jitter
            heapq.heappush(self._flights, Flight(at, next(self._numbers), target, packet))

    def _arrive(self, flight: Flight) -> None:
        stream = self.ends[flight.target]
        data = stream.receive(flight.packet, self.now)
        self.received[flight.target] += data
        if self.takes[flight.target]:
            stream.taken(len(data))
        if unpacked(flight.packet)[0] is Kind.END and stream.ended:
            self._fly(1 - flight.target, reset(""))

    def kinds(self, number: int) -> list[Kind]:
        """What one end has sent."""
        return [unpacked(packet)[0] for _, sender, packet in self.sent if sender == number]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    loss=st.floats(0.0, 0.3),
    repeated=st.floats(0.0, 0.3),
    jitter=st.floats(0.0, 0.2),
    sizes=st.tuples(st.integers(0, 40_000), st.integers(0, 40_000)),
)
def test_bytes_arrive_once_and_in_order(seed, loss, repeated, jitter, sizes):
    network = Network(seed, loss=loss, repeated=repeated, jitter=jitter)
    texts = [network.random.randbytes(size) for size in sizes]
    for stream, text in zip(network.ends, texts, strict=True):
        stream.write(text)
    network.run(400.0)
    assert [each.failure for each in network.ends] == [None, None]
    assert [bytes(each) for each in network.received] == texts[::-1]


def test_nothing_is_repeated_where_nothing_is_lost():
    network = Network()
    network.ends[0].write(bytes(50 * SEGMENT))
    network.run(2.0)
    assert network.kinds(0) == [Kind.OPEN] + [Kind.DATA] * 50
    assert bytes(network.received[1]) == bytes(50 * SEGMENT)


def test_an_answer_that_takes_most_of_a_second_is_waited_for():
    """Behind a window of weights on a line of 10 Mbit/s, the first one does."""
    network = Network()
    network.run(1.0)
    network.ends[0].write(bytes(SEGMENT))
    network.cut = True  # what is on its way takes long
    network.run(0.9)
    assert network.kinds(0) == [Kind.OPEN, Kind.DATA]


def test_an_idle_stream_is_silent_and_lives_on():
    network = Network()
    network.run(1.0)
    before = len(network.sent)
    network.run(100 * PATIENCE)
    assert len(network.sent) == before
    network.ends[1].write(b"still here")
    network.run(1.0)
    assert bytes(network.received[0]) == b"still here"


def test_a_lost_packet_is_repeated_without_waiting_for_the_clock():
    network = Network()
    network.run(0.1)
    network.cut = True
    network.ends[0].write(bytes(SEGMENT))
    network._send()
    network.cut = False
    network.ends[0].write(bytes(SEGMENT))
    network.run(0.1)
    assert Kind.GAP in network.kinds(1)
    assert len(network.received[1]) == 2 * SEGMENT


def test_an_outage_that_is_shorter_than_the_patience_is_survived():
    network = Network()
    text = random.Random(3).randbytes(3 * 2**20)
    network.ends[0].write(text)
    network.run(0.03)
    network.cut = True
    network.run(PATIENCE / 2)
    assert len(network.received[1]) < len(text)
    network.cut = False
    network.run(3.0)
    assert bytes(network.received[1]) == text


def test_what_was_lost_in_an_outage_is_sent_at_once_when_the_hub_is_back():
    network = Network()
    network.run(0.1)
    network.cut = True
    network.ends[0].write(b"lost")
    network.run(4.0)
    network.cut = False
    network.ends[0].resend(network.now)
    network.run(0.1)
    assert bytes(network.received[1]) == b"lost"


def test_silence_breaks_a_stream_that_waits():
    network = Network()
    network.run(1.0)
    network.cut = True
    network.ends[0].write(b"hello")
    network.run(PATIENCE - 1.0)
    assert not network.ends[0].ended
    network.run(2.0)
    assert "nothing was heard of it for 10 s" in (network.ends[0].failure or "")
    assert network.ends[0].next_packet(network.now) is None


def test_a_receiver_that_takes_nothing_holds_no_more_than_the_window():
    network = Network()
    network.takes[1] = False
    network.ends[0].write(bytes(2 * WINDOW))
    assert network.ends[0].full
    network.run(60.0)
    assert WINDOW - SEGMENT <= len(network.received[1]) <= WINDOW
    assert not network.ends[0].ended, "a slow receiver is no lost one"
    network.takes[1] = True
    network.ends[1].taken(len(network.received[1]))
    network.run(10.0)
    assert len(network.received[1]) == 2 * WINDOW


def test_room_is_asked_for_where_word_of_it_was_lost():
    network = Network()
    network.takes[1] = False
    network.ends[0].write(bytes(WINDOW + SEGMENT))
    network.run(5.0)
    network.cut = True
    network.ends[1].taken(WINDOW)
    network.run(0.1)
    network.cut = False
    network.run(5.0)
    assert Kind.ASK in network.kinds(0)
    assert len(network.received[1]) == WINDOW + SEGMENT


def test_less_is_on_its_way_where_the_network_is_slow():
    network = Network()
    network.ends[0].write(bytes(WINDOW - SEGMENT))
    delayed = network._fly

    def slow(target, packet):
        network.now += 3.0
        delayed(target, packet)
        network.now -= 3.0

    network._fly = slow
    network.run(40.0)
    last = [at for at, number, packet in network.sent if number == 0 and len(packet) > HEADER.size]
    burst = max(sum(1 for each in last if each == at) for at in {*last[len(last) // 2 :]})
    assert burst <= WINDOW // 4 // SEGMENT // 2


def test_closing_sends_what_was_written_and_ends_both():
    network = Network(loss=0.2, seed=5)
    network.ends[0].write(bytes(30 * SEGMENT))
    network.ends[0].close()
    network.ends[0].close()
    network.run(60.0)
    assert [each.ended for each in network.ends] == [True, True]
    assert [each.failure for each in network.ends] == [None, None]
    assert len(network.received[1]) == 30 * SEGMENT


def test_a_reset_ends_a_stream_with_the_reason_of_the_other_end():
    network = Network()
    network.ends[0].receive(reset("it has as many connections as it takes"), 0.0)
    assert network.ends[0].failure == "it has as many connections as it takes"


def test_nobody_listens_at_a_new_stream():
    network = Network()
    network.ends[0].absent(0.0)
    assert network.ends[0].failure == "nobody listens there"


def test_an_other_end_that_connects_again_is_waited_for_a_while():
    network = Network()
    network.run(0.1)
    stream = network.ends[0]
    stream.write(b"hello")
    network.cut = True
    network.run(0.1)
    stream.absent(network.now)
    network.run(ABSENT_SECONDS / 2)
    stream.absent(network.now)
    assert not stream.ended
    network.cut = False
    network.run(1.0)
    assert bytes(network.received[1]) == b"hello"
    stream.absent(network.now)
    network.run(ABSENT_SECONDS)
    stream.absent(network.now)
    assert stream.failure == "nobody listens there any more"


@pytest.mark.parametrize(
    ("packet", "told"),
    [
        (b"", "no packet"),
        (b"short", "no packet"),
        (HEADER.pack(99, 0, 0, 0), "no packet"),
        (HEADER.pack(Kind.ACK, 0, 1, 0), "1 bytes are acknowledged, and 0 were sent"),
        (HEADER.pack(Kind.DATA, WINDOW, 0, 0) + b"x", "there is room up to"),
        (HEADER.pack(Kind.DATA, 2**64 - 1, 0, 0) + b"x", "there is room up to"),
    ],
)
def test_a_packet_that_no_peer_would_send_is_refused(packet, told):
    with pytest.raises(TransportError, match=told):
        Network().ends[1].receive(packet, 0.0)


def test_what_is_not_in_order_is_not_kept():
    network = Network()
    stream = network.ends[1]
    for number in range(1, 100):
        assert stream.receive(HEADER.pack(Kind.DATA, number * SEGMENT, 0, WINDOW) + bytes(SEGMENT), 0.0) == b""
    assert stream.receive(HEADER.pack(Kind.DATA, 0, 0, WINDOW) + b"first", 0.0) == b"first"
    answers = []
    while (packet := stream.next_packet(0.0)) is not None:
        answers.append(unpacked(packet)[:3])
    assert answers == [(Kind.ACK, 0, 5)]

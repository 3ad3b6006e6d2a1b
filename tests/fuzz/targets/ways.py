"""What a hub and an HTTP proxy send to a peer that reaches others through them."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import cast

from swarm.errors import ProxyError, TransportError
from swarm.proxy import MAX_ANSWER_BYTES, Proxy, take_answer
from swarm_nats.stream import HEADER, WINDOW, Kind, Stream, reset
from tests.fuzz.mutation import BINARY, TEXT, in_parts, joined, split
from tests.fuzz.target import Target

PROXY = Proxy("proxy.example", 3128, "ada", "secret")
MOST_PACKETS = 40
SEGMENT, WRITTEN = 2**10, 2**14
"""Bytes of the stream in a packet, and in all."""


class Answering:
    """A socket that receives the bytes of an input, and then ends."""

    def __init__(self, data: bytes) -> None:
        self.taken = 0
        self._data = data

    def settimeout(self, seconds: float) -> None:
        """Nothing is waited for."""

    def recv(self, size: int) -> bytes:
        """The next bytes."""
        assert size == 1, "what follows the answer is left to whoever uses the connection"
        self.taken += 1
        return self._data[self.taken - 1 : self.taken]


def _answered(data: bytes) -> tuple[bool, int]:
    """The answer of a proxy to a request."""
    sock, failure = Answering(data), ""
    try:
        take_answer(cast("socket.socket", sock), PROXY, "10.0.0.1:7700", time.monotonic() + 60.0)
    except ProxyError as error:
        failure = str(error)
    assert failure.isprintable()
    assert PROXY.password not in failure
    assert sock.taken <= MAX_ANSWER_BYTES
    return not failure, sock.taken % 16


def _streamed(data: bytes) -> tuple[int, bool, bool]:
    """The packets of a stream over a hub, at the end that has sent something; half a second passes with each."""
    kept, *packets = split(data)[:MOST_PACKETS] or [b""]
    stream = Stream(opens=not kept, patience=10.0, segment=SEGMENT, now=0.0)
    stream.write(bytes(WRITTEN))
    held, sent, now = 0, 0, 0.0
    for packet in packets:
        now += 0.5
        held += len(stream.receive(packet, now))
        assert held <= WINDOW, "nothing is taken here, and so much is given"
        while not stream.ended and (answer := stream.next_packet(now)):
            sent += len(answer)
            assert sent <= 4 * WRITTEN * (len(packets) + 1), "it never stops to send"
        stream.tick(now)
    if stream.failure is not None:
        assert stream.ended
    return len(packets), stream.ended, stream.failure is not None


def _answers() -> Mapping[str, bytes]:
    return {
        "established": b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n\x16\x03",
        "old": b"HTTP/1.0 200 OK\r\n\r\n",
    }


def _packets() -> Mapping[str, bytes]:
    def packet(kind: Kind, start: int = 0, received: int = 0, data: bytes = b"") -> bytes:
        return HEADER.pack(kind, start, received, received + WINDOW) + data

    there = [packet(Kind.ACK), packet(Kind.DATA, 0, 0, b"hello"), packet(Kind.ASK), packet(Kind.GAP)]
    return {
        "opened-here": joined(b"", *there, packet(Kind.DATA, 9, 0, b"later"), packet(Kind.END, 5)),
        "opened-there": joined(b"\x01", packet(Kind.OPEN), *there, reset("it has closed")),
    }


GROUP = [
    Target(name="proxy-answer", run=_answered, refusals=(), values=_answers, form=TEXT),
    Target(name="hub-packets", run=_streamed, refusals=(TransportError,), values=_packets, form=in_parts(BINARY)),
]

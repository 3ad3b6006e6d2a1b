"""A reliable byte stream over packets that may be lost, repeated or reordered. It knows no network and no clock.

NATS delivers a message at most once, and loses messages mostly many at once, when a server ends. So packets are
repeated from the first one that is missing (go-back-N): the receiver keeps what comes in order and nothing else. A
receiver says up to which byte it has room. A sender limits what is on its way, to less where answers take long.

A packet begins with 25 bytes, big-endian: its kind (1), where it stands in its stream (8), how many bytes its sender
has received (8), and up to which byte that one takes more (8). Bytes of the stream follow, the reason
of a RESET, or the purpose that an OPEN tells.
"""

from __future__ import annotations

import enum
import struct
from collections import deque
from dataclasses import dataclass

from swarm.errors import TransportError

HEADER = struct.Struct(">BQQQ")
WINDOW = 4 * 2**20
"""Bytes that each side holds at most: sent and not acknowledged, or received and not taken."""
SEGMENT_BYTES = 256 * 2**10
"""Of the stream in one packet at most; a server takes 1 MiB unless it is told otherwise."""
MAX_REASON_BYTES = 200
FIRST_RETRY, LAST_RETRY = 0.5, 2.0
"""Seconds without an answer after which packets are sent again: at first, and at most unless answers take longer."""
QUICK, SLOW = 0.25, 1.0
"""Seconds until an acknowledgement below which more may be on its way, and above which less."""
ABSENT_RETRY, ABSENT_SECONDS = 0.25, 3.0
"""The hub says that nobody listens: when that is asked again, and how long a client may take to connect again."""


class Kind(enum.IntEnum):
    """What a packet is for."""

    OPEN = 1
    DATA = 2
    ACK = 3
    GAP = 4
    """An acknowledgement of a receiver that lacks a packet."""
    END = 5
    """The sender has closed; it counts as one byte of the stream, and is answered by a RESET."""
    RESET = 6
    """The sender knows no such stream, or not any more."""
    ASK = 7
    """To be acknowledged: acknowledgements may have been lost."""


@dataclass(slots=True)
class _Segment:
    kind: Kind
    start: int
    data: bytes

    @property
    def end(self) -> int:
        return self.start + (len(self.data) or 1)


class Stream:
    """One end of a stream.

    Args:
        opens: whether this end asks for the stream; the other end has been asked.
        patience: seconds without any packet, while one is waited for, after which the other end counts as lost.
        segment: bytes of the stream in one packet at most.
        now: seconds of a clock, as in all calls.
        purpose: what the other end is told when the stream opens.
    """

    def __init__(
        self, *, opens: bool, patience: float, segment: int = SEGMENT_BYTES, now: float, purpose: bytes = b""
    ) -> None:
        self._purpose = purpose
        self.failure: str | None = None
        """Why it broke, where it did."""
        self.ended = False
        """Nothing is sent and taken any more, because it was closed or broke."""
        self._opening = opens
        self._patience = patience
        self._segment = segment
        self._segments: deque[_Segment] = deque()
        """Sent and not acknowledged, then not sent."""
        self._at = 0
        """How many of them are on their way."""
        self._written = 0
        self._acknowledged = 0
        self._highest = 0
        """Bytes that were sent, repetitions apart."""
        self._closing = False
        self._peer_limit = 0
        self._in_flight_limit = WINDOW // 4
        self._expected = 0
        self._taken = 0
        self._told_limit = WINDOW
        self._gap_told = False
        self._answer: Kind | None = None if opens else Kind.ACK
        self._ask = opens
        self._round_trip: float | None = None
        self._timed: tuple[int, float] | None = None
        """A segment's end and when it was sent first."""
        self._retry = FIRST_RETRY
        self._retry_at = now
        self._heard = now
        self._waited_for = opens
        self._absent: float | None = None

    @property
    def full(self) -> bool:
        """Whether no more should be written for now."""
        return self._written - self._acknowledged >= WINDOW

    def write(self, data: bytes) -> None:
        """Send ``data`` in order."""
        for start in range(0, len(data), self._segment):
            part = data[start : start + self._segment]
            self._segments.append(_Segment(Kind.DATA, self._written, part))
            self._written += len(part)

    def close(self) -> None:
        """Send what was written, then end both directions. Idempotent."""
        if not self._closing and not self.ended:
            self._closing = True
            self._segments.append(_Segment(Kind.END, self._written, b""))
            self._written += 1

    def taken(self, count: int) -> None:
        """So many bytes that :meth:`receive` gave are held here no more."""
        self._taken += count
        if self._taken + WINDOW - self._told_limit >= WINDOW // 2 and self._answer is None:
            self._answer = Kind.ACK

    def fail(self, reason: str) -> None:
        """Break it; the first reason stays."""
        if not self.ended:
            self.ended, self.failure = True, reason
            self._segments.clear()
            self._at = 0

    def receive(self, packet: bytes, now: float) -> bytes:
        """Take a packet of the other end; the bytes of the stream that follow now, if any.

        Raises:
            TransportError: it is no packet of this stream.
        """
        kind, start, received, limit = unpacked(packet)
        if self.ended:
            return b""
        if kind is Kind.RESET:
            self._reset(packet)
            return b""
        if received > self._highest:
            raise TransportError(f"{received} bytes are acknowledged, and {self._highest} were sent")
        self._heard, self._absent, self._opening = now, None, False
        self._peer_limit = max(self._peer_limit, limit)
        self._acknowledge(received, now)
        if kind is Kind.GAP and received == self._acknowledged:
            self._rewind(now)
        if kind in (Kind.OPEN, Kind.ASK):
            self._answer = Kind.ACK
        if kind in (Kind.DATA, Kind.END):
            return self._take(kind, start, packet[HEADER.size :])
        return b""

    def next_packet(self, now: float) -> bytes | None:
        """What is to be sent now; None where there is nothing, or what was sent has to be acknowledged before."""
        if self.ended:
            return None
        if self._ask:
            self._ask = False
            self._retry_at = now + self._retry
            return self._packed(Kind.OPEN) + self._purpose if self._opening else self._packed(Kind.ASK)
        if not self._opening and self._may_send():
            segment = self._segments[self._at]
            self._at += 1
            if self._at == 1:
                self._retry_at = now + self._retry
            self._wait(now)
            if segment.end > self._highest:
                self._highest = segment.end
                self._timed = self._timed or (segment.end, now)
            self._answer = None if self._answer is Kind.ACK else self._answer
            return self._packed(segment.kind, segment.start) + segment.data
        if self._answer is not None:
            kind, self._answer = self._answer, None
            return self._packed(kind)
        return None

    def tick(self, now: float) -> None:
        """Look at the time; to be called a few times in a second."""
        if self.ended:
            return
        waits = self._opening or bool(self._segments)
        if not waits:
            self._waited_for = False
            return
        self._wait(now)
        if now - self._heard > self._patience:
            self.fail(f"nothing was heard of it for {self._patience:g} s")
        elif now >= self._retry_at:
            self._retry = min(2 * self._retry, max(LAST_RETRY, 3 * (self._round_trip or 0.0)))
            self._in_flight_limit = max(self._segment, self._in_flight_limit // 2)
            self.resend(now)

    def resend(self, now: float) -> None:
        """Send again what was not acknowledged, since it may have been lost."""
        self._rewind(now)
        if self._opening or (self._segments and not self._may_send()):
            self._ask = True
        self._retry_at = now + self._retry

    def absent(self, now: float) -> None:
        """The hub says that nobody listens at the other end."""
        if self._opening:
            self.fail("nobody listens there")
            return
        self._absent = now if self._absent is None else self._absent
        if now - self._absent >= ABSENT_SECONDS:
            self.fail("nobody listens there any more")
        elif self._segments:
            self._retry_at = min(self._retry_at, now + ABSENT_RETRY)
            self._retry = ABSENT_RETRY

    def _may_send(self) -> bool:
        if self._at >= len(self._segments):
            return False
        end = self._segments[self._at].end
        if end > self._peer_limit + (self._segments[self._at].kind is Kind.END):
            return False
        return self._at == 0 or end - self._acknowledged <= self._in_flight_limit

    def _wait(self, now: float) -> None:
        if not self._waited_for:
            self._waited_for, self._heard = True, now

    def _acknowledge(self, received: int, now: float) -> None:
        if received <= self._acknowledged:
            return
        self._acknowledged = received
        while self._segments and self._segments[0].end <= received:
            self._segments.popleft()
            self._at = max(0, self._at - 1)
        if self._timed and self._timed[0] <= received:
            took, self._timed = now - self._timed[1], None
            self._round_trip = took if self._round_trip is None else 0.75 * self._round_trip + 0.25 * took
            if took > SLOW:
                self._in_flight_limit = max(self._segment, self._in_flight_limit // 2)
            elif took < QUICK:
                self._in_flight_limit = min(WINDOW, 2 * self._in_flight_limit)
        self._retry = max(FIRST_RETRY, 3 * (self._round_trip or 0.0))
        self._retry_at = now + self._retry
        if self._closing and not self._segments:
            self.ended = True

    def _rewind(self, now: float) -> None:
        self._at = 0
        self._timed = None  # which of the repetitions is acknowledged cannot be told (Karn's algorithm)
        self._retry_at = now + self._retry

    def _take(self, kind: Kind, start: int, data: bytes) -> bytes:
        if start + len(data) > self._taken + WINDOW:
            raise TransportError(f"byte {start + len(data)} came, and there is room up to {self._taken + WINDOW}")
        if start != self._expected:
            if start < self._expected:
                self._answer = self._answer or Kind.ACK
            elif not self._gap_told:
                self._answer, self._gap_told = Kind.GAP, True
            return b""
        self._gap_told, self._answer = False, Kind.ACK
        self._expected += len(data)
        if kind is Kind.END:
            self.ended = True
        return data

    def _reset(self, packet: bytes) -> None:
        if self._closing:
            self.ended = True  # the other end has taken everything, and its answer was lost
        else:
            text = packet[HEADER.size :][:MAX_REASON_BYTES].decode(errors="replace")
            self.fail(text or "it was closed there")

    def _packed(self, kind: Kind, start: int = 0) -> bytes:
        self._told_limit = self._taken + WINDOW
        return HEADER.pack(kind, start, self._expected, self._told_limit)


def unpacked(packet: bytes) -> tuple[Kind, int, int, int]:
    """The header of a packet: its kind, where it stands, how much was received, and up to which byte there is room.

    Raises:
        TransportError: it is none.
    """
    try:
        kind, start, received, limit = HEADER.unpack_from(packet)
        return Kind(kind), start, received, limit
    except (struct.error, ValueError):
        raise TransportError(f"{len(packet)} bytes that are no packet") from None


def reset(reason: str) -> bytes:
    """The packet that ends a stream with ``reason``."""
    return HEADER.pack(Kind.RESET, 0, 0, 0) + reason.encode()[:MAX_REASON_BYTES]

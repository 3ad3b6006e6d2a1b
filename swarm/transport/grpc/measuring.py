"""What ``swarm check`` asks a peer: whether it can open a data channel here, and how fast bytes travel both ways."""

from __future__ import annotations

import os
import struct
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any

import grpc

from swarm.addresses import join
from swarm.errors import ExchangeError, LimitError, TransportError
from swarm.messages import ReachAnswer, ReachDataRequest
from swarm.transport.grpc.routes import MEMORY_SECONDS, MOST_CALLERS, MOST_OF_A_PEER, MOST_OF_AN_ADDRESS, GivenPlaces
from swarm.transport.grpc.security import address_of
from swarm.transport.grpc.service import MEASURE, until_broken
from swarm.transport.grpc.status import to_error
from swarm.transport.grpc.wire import decode, encode
from swarm.transport.pacing import PART_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swarm.clock import Clock
    from swarm.identity import Identity
    from swarm.transport.data_channel.control import DataChannels
    from swarm.transport.grpc.admission import Admission
    from swarm.transport.grpc.service import Method
    from swarm.transport.pacing import Pacing

FIRST_BYTES, MOST_BYTES = 2 * PART_BYTES, 32 * 2**20
"""Sent one way in a call, at first and at most."""
GROWTH = 4
"""From one call to the next, until one has taken long enough."""
LONG_ENOUGH = 0.3
"""Seconds of a call that tell the speed; the next larger one would take 1.2."""
PATIENCE = 10.0
"""Seconds that a call may take, and that it waits for its turn."""
MOST_OF_A_MEMBER = 512 * 2**20
"""Bytes that one member may send and receive here for this in ``MEMORY_SECONDS``."""
WANTED = struct.Struct("<Q")
"""The first message of a call: how many bytes are to come back."""
TOLD = struct.Struct("<QQ")
"""The first message of an answer: how many bytes came, and the microseconds from the first part to the last."""


@dataclass(frozen=True, slots=True)
class Speeds:
    """How fast bytes travel between two peers, in Mbit/s (10^6 bits)."""

    sends: float
    """From here to there."""
    receives: float
    """From there to here."""


class Measuring:
    """Answers the questions of others.

    Args:
        data_channels: of this peer; None where it has none.
        identity: of this peer; without one it measures with nobody, since anybody could ask.
        pacing: how fast it may send.
        clock: for how much a member has had measured lately.
    """

    def __init__(
        self, data_channels: DataChannels | None, identity: Identity | None, pacing: Pacing, clock: Clock
    ) -> None:
        self._data_channels = data_channels
        self._identity = identity
        self._pacing = pacing
        self._clock = clock
        self._given = GivenPlaces(MOST_OF_A_PEER if identity else MOST_OF_AN_ADDRESS, clock)
        self._turn = threading.Lock()
        self._spent: dict[str, list[tuple[float, int]]] = {}
        """By member, when how many bytes were measured; used by whoever has the turn."""

    def methods(self, admission: Admission) -> dict[str, Method]:
        """What others call for it."""

        def reach_data(request: bytes, context: grpc.ServicerContext) -> bytes:
            with admission.to("ReachData", context) as (caller, _):
                asked = decode(ReachDataRequest, request)
                address = address_of(caller, asked.address)
                self._given.require(caller.name, join(address.host, asked.offer.port))
                if self._data_channels is None:
                    raise ExchangeError("it takes no data channel")
                reason = ""
                try:
                    self._data_channels.reach(address, asked.offer)
                except TransportError as error:
                    reason = str(error)
                return encode(ReachAnswer(self._identity.name if self._identity else "", reason))

        def measured(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            with admission.to("Measure", context) as (caller, _):
                if self._identity is None:
                    raise ExchangeError("it measures with members of a consortium only, and has no identity")
                caller.require(caller.name)
                with self._measurement(caller.name, context.cancel) as spend:
                    messages = until_broken(requests)
                    wanted = _number(next(messages, b""))
                    spend(wanted)
                    count, times = 0, [0.0, 0.0]
                    for message in messages:
                        spend(len(message))
                        times = [times[0] if count else time.monotonic(), time.monotonic()]
                        count += len(message)
                    yield TOLD.pack(count, round(1e6 * (times[1] - times[0])))
                    yield from self._pacing.messages(_parts(wanted))

        return {
            "ReachData": grpc.unary_unary_rpc_method_handler(reach_data),
            "Measure": grpc.stream_stream_rpc_method_handler(measured),
        }

    @contextmanager
    def _measurement(self, member: str, end: Callable[[], object]) -> Iterator[Callable[[int], None]]:
        """One at a time, which ``end`` ends if it takes too long; what it sends or receives is to be told before.

        Raises:
            LimitError: others are measured for long, or the member has had as much measured as it may.
        """
        if not self._turn.acquire(timeout=PATIENCE):
            raise LimitError("it measures with others; ask again later")
        late = threading.Timer(PATIENCE, end)
        late.daemon = True
        try:
            late.start()
            yield self._account(member)
        finally:
            late.cancel()
            self._turn.release()

    def _account(self, member: str) -> Callable[[int], None]:
        now = self._clock.now()
        spent = [each for each in self._spent.pop(member, []) if each[0] > now - MEMORY_SECONDS]
        self._spent[member] = spent
        if len(self._spent) > MOST_CALLERS:
            del self._spent[next(iter(self._spent))]
        before, count = sum(each for _, each in spent), 0
        spent.append((now, 0))

        def spend(more: int) -> None:
            nonlocal count
            count += more
            spent[-1] = now, count
            if count > MOST_BYTES:
                raise LimitError(f"a measurement is of {MOST_BYTES} bytes at most")
            if before + count > MOST_OF_A_MEMBER:
                raise LimitError(f"{member} has had {MOST_OF_A_MEMBER // 2**20} MiB measured within an hour")

        return spend


def measure(channel: grpc.Channel, pacing: Pacing, address: str) -> Speeds:
    """How fast bytes travel to and from the peer at ``address``, to which ``channel`` leads; that is closed at the end.

    More and more are sent, until that takes a while: about a second each way.

    Raises:
        SwarmError: it does not answer, is busy, refuses, or does not know the question.
    """
    with channel:
        try:
            return Speeds(_grown(_sending(channel, pacing, address)), _grown(_receiving(channel, address)))
        except grpc.RpcError as error:
            raise to_error(error, address) from None


def _grown(once: Callable[[int], float]) -> float:
    """The speed in Mbit/s, by calls of ``once``, which takes a number of bytes and gives seconds."""
    size = FIRST_BYTES
    while (seconds := once(size)) < LONG_ENOUGH and size * GROWTH <= MOST_BYTES:
        size *= GROWTH
    # The time is that from the first part to the last.
    return (size - PART_BYTES) * 8 / 1e6 / max(seconds, 1e-6)


def _sending(channel: grpc.Channel, pacing: Pacing, address: str) -> Callable[[int], float]:
    def once(size: int) -> float:
        def messages() -> Iterator[bytes]:
            yield WANTED.pack(0)
            yield from pacing.messages(_parts(size))

        begun = time.monotonic()
        call: Any = channel.stream_stream(MEASURE, None, None)(messages(), timeout=2 * PATIENCE)
        count, microseconds = _told(next(call, b""), address)
        call.cancel()
        if count != size:
            raise ExchangeError(f"{address} says that {count} bytes came, and {size} were sent")
        # It is the other side that says so: it cannot have taken longer than what is seen here.
        return min(microseconds / 1e6, time.monotonic() - begun)

    return once


def _receiving(channel: grpc.Channel, address: str) -> Callable[[int], float]:
    def once(size: int) -> float:
        count = 0
        times: list[float] = []
        for answer in channel.stream_stream(MEASURE, None, None)(iter([WANTED.pack(size)]), timeout=2 * PATIENCE):
            if times:
                count += len(answer)
            else:
                _told(answer, address)
            times.append(time.monotonic())
            if count > size:
                break
        if count != size:
            raise ExchangeError(f"{address} has sent {count} bytes or more, and {size} were asked for")
        return times[-1] - times[1]

    return once


def _parts(size: int) -> Iterator[bytes]:
    """Bytes that nothing on the way can compress."""
    return repeat(os.urandom(PART_BYTES), size // PART_BYTES)


def _number(message: bytes) -> int:
    try:
        (wanted,) = WANTED.unpack(message)
    except struct.error:
        raise ExchangeError("a measurement begins with a number of bytes") from None
    return int(wanted)


def _told(message: bytes, address: str) -> tuple[int, int]:
    try:
        count, microseconds = TOLD.unpack(message)
    except struct.error:
        raise ExchangeError(f"{address} does not answer as one that measures") from None
    return count, microseconds

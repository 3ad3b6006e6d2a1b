"""The transport that sends weights over lanes, and everything else over the one it is made with."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from swarm.clock import MonotonicClock
from swarm.messages import LaneOffer, LaneRequest
from swarm.transport.base import Handler, Transport
from swarm.transport.lane.acceptor import Acceptor
from swarm.transport.lane.dialling import Dialler, NoLaneError
from swarm.transport.lane.lane import Lane
from swarm.transport.lane.reception import Reception
from swarm.transport.lane.tickets import Tickets
from swarm.transport.lane.upload import LaneUpload
from swarm.transport.lane.ways import Ways

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from swarm.clock import Clock
    from swarm.messages import Envelope, FetchRequest, StreamHeader
    from swarm.transport.base import Frame, Sink, Upload
    from swarm.transport.lane.connection import Connection
    from swarm.transport.lane.control import LaneControl

CLOSING_SECONDS = 1.0
"""For which ``close`` waits for the threads of lanes."""


class LaneTransport(Transport):
    """Carries uploads over TCP connections of their own, straight from and into memory.

    A lane is asked for over ``control``, opened with the ticket that comes back, and kept for the streams that
    follow. Where it cannot be had, uploads travel over ``control`` as if there were no lanes; which way is logged once
    for each address, and a lane is tried again after ``RETRY_SECONDS``. A lane that breaks in the middle of a stream
    fails that upload.

    Args:
        control: carries all that is no upload, and authenticates peers.
        host: to listen on for lanes, the same as ``control``.
        port: of lanes here; 0 takes a free one.
        failure_timeout: as of ``control``.
        clock: for what is remembered.
    """

    def __init__(
        self,
        control: LaneControl,
        host: str,
        *,
        port: int = 0,
        failure_timeout: float = 10.0,
        clock: Clock | None = None,
    ) -> None:
        clock = clock or MonotonicClock()
        self._control = control
        self._host = host
        self._port = port
        self._failure_timeout = failure_timeout
        self._dialler = Dialler(control, failure_timeout)
        self._tickets = Tickets(clock)
        self._ways = Ways(clock)
        self._lock = threading.Lock()
        self._lanes: dict[tuple[str, LaneRequest], list[Lane]] = {}
        self._resting: set[Lane] = set()
        self._closed = False
        self._acceptor: Acceptor | None = None

    def start(self, handler: Handler) -> str:
        def serve(connection: Connection, holder: LaneRequest) -> None:
            Reception(connection, holder, self._control.decode_header, handler.open_sink).run()

        def issue(request: LaneRequest) -> LaneOffer:
            return LaneOffer(acceptor.port, self._tickets.issue(request))

        acceptor = Acceptor(self._host, self._port, self._failure_timeout, self._tickets.redeem, serve)
        self._acceptor = acceptor
        self._control.offer_lanes(issue)
        try:
            return self._control.start(_Listening(handler, self._drop))
        except BaseException:
            acceptor.close()
            raise

    def send(self, address: str, envelope: Envelope) -> None:
        self._control.send(address, envelope)

    def upload(
        self, address: str, header: StreamHeader, frames: Iterator[Frame], done: Callable[[str | None], None]
    ) -> Upload:
        if self._ways.barred(address):
            return self._control.upload(address, header, frames, done)
        upload = LaneUpload(self._control, address, header, frames, partial(self._tell, done))
        with self._lock:
            if self._closed:
                return self._control.upload(address, header, frames, done)
            self._lane(address, LaneRequest(header.session, header.sender, header.incarnation)).begin(upload)
        return upload

    def fetch(self, address: str, request: FetchRequest, timeout: float) -> Iterator[memoryview]:
        return self._control.fetch(address, request, timeout)

    def forget(self, address: str) -> None:
        self._control.forget(address)
        self._drop(address)

    def close(self, linger: float = 1.0) -> None:
        with self._lock:
            self._closed = True
            lanes = [lane for lanes in self._lanes.values() for lane in lanes]
        for lane in lanes:
            lane.close()
        self._control.close(linger)
        if self._acceptor is not None:
            self._acceptor.close()
        deadline = time.monotonic() + CLOSING_SECONDS
        for lane in lanes:
            lane.join(max(0.0, deadline - time.monotonic()))

    def _lane(self, address: str, me: LaneRequest) -> Lane:
        """One that rests, or a new one."""
        lanes = self._lanes.setdefault((address, me), [])
        for lane in self._resting.intersection(lanes):
            self._resting.discard(lane)
            if lane.fresh():
                return lane
            lane.close()
        lane = Lane(partial(self._dial, address, me), self._rest, partial(self._remove, address, me))
        lanes.append(lane)
        return lane

    def _dial(self, address: str, me: LaneRequest) -> Connection:
        try:
            connection = self._dialler.dial(address, me)
        except NoLaneError as error:
            if error.lasting:
                self._ways.bar(address, str(error))
            raise
        self._ways.opened(address)
        return connection

    def _rest(self, lane: Lane) -> None:
        with self._lock:
            if not lane.closed:
                self._resting.add(lane)

    def _remove(self, address: str, me: LaneRequest, lane: Lane) -> None:
        with self._lock:
            self._resting.discard(lane)
            lanes = self._lanes[address, me]
            lanes.remove(lane)
            if not lanes:
                del self._lanes[address, me]

    def _drop(self, address: str) -> None:
        """End the lanes to ``address``, and what was learned of it."""
        self._ways.forget(address)
        with self._lock:
            lanes = [lane for (there, _), lanes in self._lanes.items() if there == address for lane in lanes]
            self._resting.difference_update(lanes)
        for lane in lanes:
            lane.close()

    def _tell(self, done: Callable[[str | None], None], reason: str | None) -> None:
        if not self._closed:
            done(reason)


class _Listening(Handler):
    """Another handler, whose losses end lanes as well."""

    def __init__(self, handler: Handler, lost: Callable[[str], None]) -> None:
        self._handler = handler
        self._lost = lost

    def on_envelope(self, envelope: Envelope) -> None:
        self._handler.on_envelope(envelope)

    def on_lost(self, address: str, reason: str) -> None:
        self._lost(address)
        self._handler.on_lost(address, reason)

    def open_sink(self, header: StreamHeader) -> Sink:
        return self._handler.open_sink(header)

    def serve(self, request: FetchRequest) -> Iterable[Frame]:
        return self._handler.serve(request)

    def status(self) -> dict[str, Any]:
        return self._handler.status()

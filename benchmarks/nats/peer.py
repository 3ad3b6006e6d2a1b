"""One of the two processes: ``python -m benchmarks.nats.peer``. Each order names a method of ``Peer``."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nats.aio.client import Client

from benchmarks.harness.workers import connect
from swarm.errors import ExchangeError
from swarm.identity import identity_at
from swarm.messages import Envelope, FetchRequest, StreamHeader
from swarm.records import Attempt
from swarm.transport import MAX_FRAME_BYTES, Frame, Handler, Sink
from swarm_nats.settings import HubSettings
from swarm_nats.transport import NatsTransport

if TYPE_CHECKING:
    from nats.aio.msg import Msg

MESSAGE_BYTES = 2**20 - 2**12
FRAME_BYTES = 4 * 2**20
SUBJECT = "benchmark"
PATIENCE = 60.0
_log = logging.getLogger(__name__)
_HEADER = StreamHeader("session", "sender", "incarnation", "lineage", 1, Attempt(1, "sender"))


class Peer(Handler):
    """Sends or receives, with nats-py and with the transport.

    Args:
        server: URL of the hub.
        identity: directory of this peer's.
        receives: what is published with nats-py.
    """

    def __init__(self, server: str, identity: str, *, receives: bool) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = Client()
        self._received = 0
        self._came = asyncio.Event()
        self._frames = os.urandom(MAX_FRAME_BYTES)
        self._loop.run_until_complete(self._open(server, receives=receives))
        hub = HubSettings((server,))
        self._transport = NatsTransport(hub, identity=identity_at(Path(identity)))
        self.address = self._transport.start(self)

    def send_alone(self, size: int, **_: Any) -> dict[str, float]:
        """Publish ``size`` bytes with nats-py."""
        return self._timed(lambda: self._loop.run_until_complete(self._publish(size)))

    def receive_alone(self, size: int) -> dict[str, float]:
        """Wait until they are here."""
        return self._timed(lambda: self._loop.run_until_complete(asyncio.wait_for(self._wait(size), PATIENCE)))

    def send_swarm(self, size: int, address: str) -> dict[str, float]:
        """Upload ``size`` bytes."""
        ended: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        frame = memoryview(self._frames)[:FRAME_BYTES]

        def upload() -> None:
            frames = ([frame[: min(FRAME_BYTES, size - start)]] for start in range(0, size, FRAME_BYTES))
            self._transport.upload(address, _HEADER, frames, ended.put)
            reason = ended.get(timeout=PATIENCE)
            if reason:
                raise RuntimeError(reason)

        return self._timed(upload)

    def receive_swarm(self, size: int) -> dict[str, float]:
        """The sender waits until all was taken."""
        return {"began": time.monotonic(), "ended": 0.0}

    def close(self) -> None:
        """End both."""
        self._transport.close(0.0)
        self._loop.run_until_complete(self._client.close())

    def on_envelope(self, envelope: Envelope) -> None:
        pass

    def on_lost(self, address: str, reason: str) -> None:
        _log.warning("%s is lost: %s", address, reason)

    def open_sink(self, header: StreamHeader) -> Sink:
        return _Dropping()

    def serve(self, request: FetchRequest) -> Iterable[Frame]:
        raise ExchangeError("nothing is served here")

    def status(self) -> dict[str, Any]:
        return {}

    @staticmethod
    def _timed(job: Callable[[], object]) -> dict[str, float]:
        began = time.monotonic()
        job()
        return {"began": began, "ended": time.monotonic()}

    async def _open(self, server: str, *, receives: bool) -> None:
        await self._client.connect(server)
        if receives:
            await self._client.subscribe(SUBJECT, cb=self._take, pending_bytes_limit=2**31)
        await self._client.flush()

    async def _take(self, message: Msg) -> None:
        self._received += len(message.data)
        self._came.set()

    async def _publish(self, size: int) -> None:
        data = self._frames[:MESSAGE_BYTES]
        for start in range(0, size, MESSAGE_BYTES):
            await self._client.publish(SUBJECT, data[: min(MESSAGE_BYTES, size - start)])
        await self._client.flush()

    async def _wait(self, size: int) -> None:
        while self._received < size:
            self._came.clear()
            await self._came.wait()
        self._received -= size


class _Dropping(Sink):
    """Receives frames into the same memory."""

    def __init__(self) -> None:
        self._memory = memoryview(bytearray(MAX_FRAME_BYTES))

    def begin(self, head: memoryview, size: int) -> memoryview:
        return self._memory[:size]

    def end(self) -> None:
        pass


def main() -> None:
    """Answer all orders."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    orders, answer = connect()
    peer = Peer(**next(orders))
    answer(peer.address)
    for order in orders:
        answer(getattr(peer, order.pop("do"))(**order))


if __name__ == "__main__":
    main()

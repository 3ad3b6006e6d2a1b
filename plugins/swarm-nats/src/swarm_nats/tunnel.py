"""Carries connections between the loopback addresses of two machines, as streams over subjects of the hub.

What passes is TLS that begins and ends at the two peers, so the hub sees sizes and times. Each peer has a token, drawn
when it starts or computed of its address; a stream has an identifier, drawn by who opens it. Its packets are published
to ``<subject>.<token of the receiver>.<identifier>``, with the corresponding subject of the sender as reply: where
nobody listens, the hub answers there.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import socket
from collections import Counter, deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, cast

from swarm.errors import AddressError, TransportError
from swarm.text import printable
from swarm_nats.stream import HEADER, SEGMENT_BYTES, Kind, Stream, reset, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats.aio.msg import Msg

    from swarm.clock import Clock
    from swarm_nats.hub import Hub

TOKEN = re.compile(r"[0-9a-f]{32}")
"""A token, and the identifier of a stream."""
MAX_STREAMS = 256
"""That others have opened here, at a time."""
MAX_STREAMS_OF_ONE = 32
"""The same of one token."""
TICK_SECONDS = 0.05
MESSAGES, DATA = b"", b"data"
"""What a stream is for, as the packet tells that opens it."""
FEWEST_BYTES = 16 * 2**10
"""Of a packet that the hub must take."""
BUSY = "it has as many connections as it takes"

_log = logging.getLogger("swarm.transport")


class Tunnel:
    """The streams of one peer. Everything runs on the hub's loop but ``listen``, ``close`` and ``reason``.

    Args:
        hub: opened by ``start``.
        subject: that all subjects begin with.
        patience: of a stream, in seconds.
        clock: for the streams.
        token: under which others reach this peer; a random one where it is not given.
    """

    def __init__(self, hub: Hub, subject: str, patience: float, clock: Clock, token: str | None = None) -> None:
        self.token = token or secrets.token_hex(16)
        """Under which others reach this peer."""
        self._hub = hub
        self._subject = subject
        self._patience = patience
        self._clock = clock
        self._host = ""
        self._ports: dict[bytes, int] = {}
        self._segment = SEGMENT_BYTES
        self._ends: dict[str, _End] = {}
        self._accepting: set[str] = set()
        self._accepted: Counter[str] = Counter()
        """By token, how many streams it has opened here."""
        self._reasons: dict[str, str] = {}
        self._ready: deque[_End] = deque()
        self._wake = asyncio.Event()
        self._ended = asyncio.Event()
        self._sending: asyncio.Task[None]
        self._ticking: asyncio.Task[None]
        self._background: set[asyncio.Task[None]] = set()

    def start(self, port: int, data_port: int | None = None, host: str = "127.0.0.1") -> None:
        """Connect to the hub, and take streams for two ports of ``host``, which is this machine.

        Raises:
            AddressError: the hub cannot be used.
        """
        self._host = host
        self._ports = {MESSAGES: port, **({DATA: data_port} if data_port else {})}
        self._hub.open(f"{self._subject}.{self.token}.*", self._on_message, self._on_back)
        try:
            self._hub.call(self._begin(), self._patience)
        except AddressError:
            self._hub.close()
            raise

    def listen(self, token: str, purpose: bytes = b"") -> Listener:
        """Listen on a loopback address, from which each connection goes to the peer with ``token``."""
        sock = socket.create_server(("127.0.0.1", 0))
        sock.setblocking(False)
        listener = Listener(self._hub.loop, sock)
        listener.serve(partial(_End, self, token, purpose=purpose))
        return listener

    def reason(self, token: str) -> str:
        """Why the last stream to ``token`` broke; empty where none has."""
        return self._reasons.pop(token, "")

    def report(self, job: Callable[[], None]) -> None:
        """Call ``job`` soon, outside every lock."""
        self._hub.loop.call_soon_threadsafe(job)

    def close(self, linger: float) -> None:
        """Send what was read from closed connections for at most ``linger`` seconds, end the rest, leave the hub."""
        self._hub.call(self._finish(linger), linger + 2.0)
        self._hub.close()

    async def _begin(self) -> None:
        largest = self._hub.client.max_payload
        if largest < FEWEST_BYTES:
            raise AddressError(f"the hub takes {largest} bytes in a message, and {FEWEST_BYTES} are needed")
        self._segment = min(SEGMENT_BYTES, largest - HEADER.size)
        self._sending, self._ticking = asyncio.create_task(self._send()), asyncio.create_task(self._tick())

    async def _finish(self, linger: float) -> None:
        deadline = self._clock.now() + linger
        while self._ends and self._hub.connected and (left := deadline - self._clock.now()) > 0:
            self._ended.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), min(left, TICK_SECONDS))
        for end in tuple(self._ends.values()):
            await self._hub.publish(end.subject, reset(""), "")
            end.abandon()
        self._sending.cancel()
        self._ticking.cancel()

    # -- what _End calls

    def opened(self, end: _End) -> Stream:
        """A connection is there: its stream."""
        self._ends[end.identifier] = end
        self.ready(end)
        return Stream(
            opens=end.opens,
            patience=self._patience,
            segment=self._segment,
            now=self._clock.now(),
            purpose=end.purpose,
        )

    def ready(self, end: _End) -> None:
        """There may be something to send."""
        if not end.queued:
            end.queued = True
            self._ready.append(end)
            self._wake.set()

    def over(self, end: _End) -> None:
        """Forget a stream that ended."""
        if self._ends.pop(end.identifier, None) is None:
            return
        self._ended.set()
        if end.stream.failure:
            if len(self._reasons) > MAX_STREAMS:
                self._reasons.clear()
            self._reasons[end.token] = end.stream.failure
        if not end.opens:
            self._release(end.token)

    def answer(self, end: _End, packet: bytes) -> None:
        """Send a last packet of a stream."""
        self._run(self._hub.publish(end.subject, packet, ""))

    def subject_of(self, token: str, identifier: str) -> str:
        """Where the packets of a stream to ``token`` go."""
        return f"{self._subject}.{token}.{identifier}"

    # -- the hub

    async def _on_message(self, message: Msg) -> None:
        identifier = message.subject.rpartition(".")[2]
        end = self._ends.get(identifier)
        if message.headers:
            if end is not None and message.headers.get("Status") == "503":
                end.absent(self._clock.now())
            return
        if end is not None:
            end.receive(message.data, self._clock.now())
            return
        token = self._token_of(message.reply, identifier)
        if token:
            await self._strange(token, identifier, message.data)

    def _token_of(self, reply: str, identifier: str) -> str:
        """Whose subject a reply is; empty where it is that of no peer, which would be sent what it did not ask for."""
        prefix, _, rest = reply.removeprefix(self._subject).partition(".")
        token, _, stream = rest.partition(".")
        valid = reply.startswith(self._subject) and not prefix and stream == identifier
        return token if valid and TOKEN.fullmatch(token) and TOKEN.fullmatch(identifier) else ""

    async def _strange(self, token: str, identifier: str, data: bytes) -> None:
        """A packet of no stream that is known here."""
        try:
            kind, *_ = unpacked(data)
        except TransportError:
            return
        subject = self.subject_of(token, identifier)
        if kind is Kind.RESET or identifier in self._accepting:
            return
        if kind is not Kind.OPEN:
            await self._hub.publish(subject, reset("" if kind is Kind.END else "it knows no such connection"), "")
        elif self._accepted.total() >= MAX_STREAMS or self._accepted[token] >= MAX_STREAMS_OF_ONE:
            await self._hub.publish(subject, reset(BUSY), "")
        else:
            self._accepted[token] += 1
            self._accepting.add(identifier)
            self._run(self._accept(token, identifier, data[HEADER.size :]))

    async def _accept(self, token: str, identifier: str, purpose: bytes) -> None:
        make = partial(_End, self, token, identifier)
        try:
            # A port that is not there is refused as one that has closed.
            await self._hub.loop.create_connection(make, self._host, self._ports.get(purpose, 0))
        except OSError:
            self._release(token)
            await self._hub.publish(self.subject_of(token, identifier), reset("it has closed"), "")
        finally:
            self._accepting.discard(identifier)

    def _release(self, token: str) -> None:
        self._accepted[token] -= 1
        self._accepted += Counter()  # drops those at 0

    def _run(self, job: object) -> None:
        task = asyncio.ensure_future(job, loop=self._hub.loop)  # type: ignore[call-overload] # a coroutine
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _on_back(self) -> None:
        # nats-py may wait for the connection that was lost to take what was published; what it holds is sent again.
        self._sending.cancel()
        self._sending = asyncio.create_task(self._send())
        self._wake.set()
        now = self._clock.now()
        for end in self._ends.values():
            end.stream.resend(now)
            self.ready(end)

    async def _send(self) -> None:
        """Send for all streams in turns."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._ready:
                end = self._ready.popleft()
                packet = end.stream.next_packet(self._clock.now())
                end.queued = False
                if packet is None:
                    continue
                self.ready(end)
                await self._hub.publish(end.subject, packet, end.reply)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = self._clock.now()
            for end in tuple(self._ends.values()):
                end.stream.tick(now)
                end.settle()
                self.ready(end)


class Listener:
    """A loopback address whose connections are tunnelled."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self.port: int = sock.getsockname()[1]
        self._loop = loop
        self._socket = sock
        self._server: asyncio.Server | None = None

    def serve(self, make: partial[_End]) -> None:
        """Accept from now on; until the loop comes to it, connections wait in the system's queue."""
        asyncio.run_coroutine_threadsafe(self._serve(make), self._loop)

    def close(self) -> None:
        """Accept no more; connections that are open stay."""
        self._loop.call_soon_threadsafe(self._close)

    async def _serve(self, make: partial[_End]) -> None:
        self._server = await self._loop.create_server(make, sock=self._socket)

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._socket.close()


class _End(asyncio.Protocol):
    """A connection on this machine, whose bytes a stream carries.

    Args:
        tunnel: that the stream belongs to.
        token: of the peer at the other end.
        identifier: of the stream, where that peer has opened it; this end opens one where it is empty.
        purpose: of a stream that this end opens.
    """

    def __init__(self, tunnel: Tunnel, token: str, identifier: str = "", purpose: bytes = b"") -> None:
        self.purpose = purpose
        self.token = token
        self.opens = not identifier
        self.identifier = identifier or secrets.token_hex(16)
        self.queued = False
        self.stream: Stream
        self._tunnel = tunnel
        self._transport: asyncio.Transport
        self._untaken = 0
        """Bytes that were given to the connection, and that the stream was not told of."""
        self._reading = True

    @property
    def subject(self) -> str:
        """Where its packets go."""
        return self._tunnel.subject_of(self.token, self.identifier)

    @property
    def reply(self) -> str:
        """Where the other end's packets come."""
        return self._tunnel.subject_of(self._tunnel.token, self.identifier)

    # -- the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=2**20)
        self.stream = self._tunnel.opened(self)

    def data_received(self, data: bytes) -> None:
        self.stream.write(data)
        self._tunnel.ready(self)
        self.settle()

    def connection_lost(self, error: Exception | None) -> None:
        self.stream.close()
        self._tunnel.ready(self)

    def resume_writing(self) -> None:
        self.settle()

    # -- the stream

    def receive(self, packet: bytes, now: float) -> None:
        """Take a packet."""
        try:
            data = self.stream.receive(packet, now)
        except TransportError as error:
            _log.warning("a connection over the hub is ended: %s", printable(str(error), 200))
            self.stream.fail(str(error))
            self._tunnel.answer(self, reset(str(error)))
            data = b""
        if data:
            self._transport.write(data)
            self._untaken += len(data)
        if self.stream.ended and self.stream.failure is None:
            self._tunnel.answer(self, reset(""))
        self.settle()
        self._tunnel.ready(self)

    def absent(self, now: float) -> None:
        """Nobody listens at the other end."""
        self.stream.absent(now)
        self.settle()

    def settle(self) -> None:
        """Bring the connection to the state of the stream."""
        if self.stream.ended:
            self.abandon()
            return
        if self._untaken and self._transport.get_write_buffer_size() <= 2**20:
            count, self._untaken = self._untaken, 0
            self.stream.taken(count)
            self._tunnel.ready(self)
        if self._reading and self.stream.full:
            self._transport.pause_reading()
        elif not self._reading and not self.stream.full and not self._transport.is_closing():
            self._transport.resume_reading()
        else:
            return
        self._reading = not self._reading

    def abandon(self) -> None:
        """Close the connection, once it has been given what came, and forget it."""
        if self.stream.failure is None:
            self._transport.close()
        else:
            self._transport.abort()
        self._tunnel.over(self)
